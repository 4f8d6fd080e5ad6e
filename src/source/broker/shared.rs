//! Shared subscriptions: each message to one member of a group, in turn, to a connected one where there is one.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use rmqtt::context::ServerContext;
use rmqtt::subscribe::SharedSubscription;
use rmqtt::types::{
    ClientId, Id, IsOnline, NodeId, SharedGroup, SubscriptionIdentifier, SubscriptionOptions,
    TopicName,
};

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct InTurn(AtomicUsize);

type Member =
    (NodeId, ClientId, SubscriptionOptions, Option<Vec<SubscriptionIdentifier>>, Option<IsOnline>);

#[async_trait]
impl SharedSubscription for InTurn {
    fn is_supported(&self) -> bool {
        true
    }

    async fn choice(
        &self,
        broker: &ServerContext,
        _: &SharedGroup,
        _: &Id,
        _: &TopicName,
        members: &[Member],
    ) -> Option<(usize, IsOnline)> {
        let turn = self.0.fetch_add(1, Ordering::Relaxed).checked_rem(members.len())?;
        let in_turn = members.iter().enumerate().cycle().skip(turn).take(members.len());
        for (index, (node, client_id, _, _, online)) in in_turn {
            let online = match online {
                Some(online) => *online,
                None => broker.extends.router().await.is_online(*node, client_id).await,
            };
            if online {
                return Some((index, true));
            }
        }
        Some((turn, false))
    }
}

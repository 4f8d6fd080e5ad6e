//! What a running Waypost can be ordered to do; one after the other.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::Running;
use super::reload::Backlog;
use crate::admin::queues::LeftOverDropper;
use crate::admin::reload::{Refused, Reloaded, Reloader};
use crate::name::SinkName;
use crate::store::{Dropped, StoreError};

/// Orders that wait; whoever gives one waits, too.
const ORDERS_MAX: usize = 8;

/// An order and where the answer goes.
#[derive(Debug)]
pub(super) enum Order {
    Reload {
        backlog: Backlog,
        reply: oneshot::Sender<Result<Reloaded, Refused>>,
    },
    DropLeftOver {
        sink: SinkName,
        age: Duration,
        reply: oneshot::Sender<Result<Dropped, StoreError>>,
    },
}

/// Where orders are given. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Orders(mpsc::Sender<Order>);

pub(super) fn channel() -> (Orders, mpsc::Receiver<Order>) {
    let (sender, receiver) = mpsc::channel(ORDERS_MAX);
    (Orders(sender), receiver)
}

impl Orders {
    pub(super) fn reloader(&self) -> Reloader {
        let orders = self.0.clone();
        std::sync::Arc::new(move |drops_removed| {
            let backlog = if drops_removed { Backlog::Drop } else { Backlog::Keep };
            let stopping = || Refused::here(vec!["waypost is stopping".to_owned()]);
            let answer = order(orders.clone(), move |reply| Order::Reload { backlog, reply });
            async move { answer.await.unwrap_or_else(|| Err(stopping())) }.boxed()
        })
    }

    pub(super) fn left_over_dropper(&self) -> LeftOverDropper {
        let orders = self.0.clone();
        std::sync::Arc::new(move |sink, age| {
            let answer =
                order(orders.clone(), move |reply| Order::DropLeftOver { sink, age, reply });
            async move { answer.await.unwrap_or(Err(StoreError::Closed)) }.boxed()
        })
    }
}

/// Gives an order and waits for the answer; `None` when it is stopping.
fn order<T: Send + 'static>(
    orders: mpsc::Sender<Order>,
    order: impl FnOnce(oneshot::Sender<T>) -> Order + Send + 'static,
) -> BoxFuture<'static, Option<T>> {
    async move {
        let (reply, answer) = oneshot::channel();
        orders.send(order(reply)).await.ok()?;
        answer.await.ok()
    }
    .boxed()
}

impl Running {
    /// Does what it is ordered to. Whoever ordered it may have gone.
    pub(super) async fn obey(&mut self, order: Order) {
        match order {
            Order::Reload { backlog, reply } => drop(reply.send(self.reload(backlog).await)),
            Order::DropLeftOver { sink, age, reply } => {
                drop(reply.send(self.drop_left_over(sink, age).await));
            }
        }
    }
}

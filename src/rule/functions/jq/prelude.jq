# What jq 1.6 defines and jaq does not, or otherwise; `tests/vectors/jq.jsonl` holds what each gives in jq 1.6.
# Several are close to those of jq's `src/builtin.jq` (Copyright (C) 2012 Stephen Dolan, MIT licence).

# Texts
def ltrimstr($it): if isstring and ($it | isstring) and startswith($it) then .[$it | length:] else . end;
def rtrimstr($it): if isstring and ($it | isstring) and $it != "" and endswith($it) then .[:length - ($it | length)] else . end;
def join($it): reduce .[] as $element (null;
    (if . == null then "" else . + $it end)
  + ($element | if isboolean or isnumber then tojson elif . == null then "" else . end)) // "";
def ascii: [.] | implode;

# Formats
def @text: tostring;
def @json: tojson;
def @html: tostring | escape_html;
def @uri:
  def kept($code; $it): split($code) | join($it);
  tostring | encode_uri
  | if contains("%2") then kept("%21"; "!") | kept("%27"; "'") | kept("%28"; "(") | kept("%29"; ")") | kept("%2A"; "*")
    else . end;
def @base64: tostring | encode_base64;
def @base64d: tostring | decode_base64;
def @sh: [if isarray then .[] else . end
  | if isstring then "'" + escape_sh + "'" elif isarray or isobject then error("\(.) can not be escaped for shell") else tojson end] | join(" ");
def @csv: map(
    if isstring then "\"" + (split("\"") | join("\"\"")) + "\""
    elif . == null then ""
    elif isnumber or isboolean then tojson
    else error("\(type) is not valid in a csv row") end) | join(",");
def @tsv: map(
    if isstring then (split("\\") | join("\\\\") | split("\t") | join("\\t") | split("\n") | join("\\n") | split("\r") | join("\\r"))
    elif . == null then ""
    elif isnumber or isboolean then tojson
    else error("\(type) is not valid in a tsv row") end) | join("\t");
def format($name):
    if   $name == "text" then @text
    elif $name == "json" then @json
    elif $name == "csv" then @csv
    elif $name == "tsv" then @tsv
    elif $name == "html" then @html
    elif $name == "uri" then @uri
    elif $name == "sh" then @sh
    elif $name == "base64" then @base64
    elif $name == "base64d" then @base64d
    else error("\($name) is not a valid format") end;

# Paths
def getpath($path): reduce $path[] as $key (.;
  if isobject and ($key | isstring | not) then error("an object cannot be indexed with \($key)") else .[$key] end);
def del(f): delpaths([path(f)]);
def leaf_paths: paths(scalars);
def recurse_down: recurse;
def scalars_or_empty: select(isarray or isobject | not);
def nth($n): .[$n];

# Streams
def tostream:
  def events($path):
    if (isarray or isobject) and length > 0 then
      keys_unsorted as $keys
      | ($keys[] as $key | .[$key] | events($path + [$key])), [$path + [$keys[-1]]]
    else [$path, .] end;
  events([]);
def fromstream(events): foreach events as $event (null;
    { value: (if .done then null else .value end | if ($event | length) == 2 then setpath($event[0]; $event[1]) else . end),
      done: (($event[0] | length) + ($event | length) == 2) };
    if .done then .value else empty end);
def truncate_stream(events): . as $depth | null | events | select(.[0] | length > $depth) | .[0] |= .[$depth:];

# As in SQL
def INDEX(stream; key): reduce stream as $row ({}; .[$row | key | tostring] |= $row);
def INDEX(key): INDEX(.[]; key);
def JOIN($index; key): [.[] | [., $index[key]]];
def JOIN($index; stream; key): stream | [., $index[key]];
def JOIN($index; stream; key; join): stream | [., $index[key]] | join;
def IN(stream): any(stream == .; .);
def IN(source; stream): any(source == stream; .);

# Arrays and objects
def flatten: def rec: reduce .[] as $it ([]; if $it | isarray then . + ($it | rec) else . + [$it] end); rec;
def flatten($depth):
  def rec($depth): reduce .[] as $it ([]; if ($it | isarray) and $depth > 0 then . + ($it | rec($depth - 1)) else . + [$it] end);
  if $depth < 0 then error("flatten depth must not be negative") else rec($depth) end;
def from_entries: reduce .[] as $it ({}; .
  + { ($it | if .key != null and .key != false then .key else .k // .name // .Name // .K // .Key end | if isstring then . else tojson end):
      ($it | if has("value") then .value else .Value end) });
def with_entries(f): to_entries | map(f) | from_entries;

# Patterns: flags may be null, and both may be in an array
def test(re; $flags): matches(re; $flags // "") | any;
def match(re; $flags): matches(re; $flags // "")[] | .[0] + { captures: .[1:] };
def capture(re; $flags): matches(re; $flags // "")[] | capture_of_match;
def test($it): if $it | isarray then test($it[0]; $it[1]) else test($it; "") end;
def match($it): if $it | isarray then match($it[0]; $it[1]) else match($it; "") end;
def capture($it): if $it | isarray then capture($it[0]; $it[1]) else capture($it; "") end;
def split($re; $flags): split_($re; ($flags // "") + "g");
def splits($re; $flags): split($re; $flags)[];

# Numbers, times and inputs
def gamma: lgamma;
def nearbyint: rint;
def todateiso8601: strftime("%Y-%m-%dT%H:%M:%SZ");
def todate: todateiso8601;
def input: error("No more inputs");
def inputs: empty;

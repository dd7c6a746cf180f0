//! What to open and try, once everything runs.
use crate::cluster::Cluster;
use crate::layout::{NODES, Part};
use crate::progress::say;
use crate::sample::{PASSWORD, PEOPLE};

/// Prints the guide. `in_background`: the cluster outlives this program.
pub(crate) fn print(cluster: &Cluster, in_background: bool) {
    let layout = cluster.layout();
    let urls: [String; NODES] = std::array::from_fn(|node| layout.http_url(node));
    let [first, second, third] = &urls;
    let yin = cluster
        .yin()
        .map(|yin| yin.display().to_string())
        .unwrap_or_default();
    let data = layout.data.display();
    let node1 = layout.data_of(Part::Node(0));
    let user = PEOPLE[0];
    let ending = if in_background {
        "It runs in the background until `make stop`."
    } else {
        "Ctrl-C ends it; the data stays."
    };
    say(format_args!(
        r#"
Three nodes and an S3 run on this machine. {ending}

  watch      {first}/   ({second}/ and {third}/ show the same)
  people     {people}; everybody's password is {PASSWORD}
  logs       {data}/logs

Try, in another terminal:

  # the feed, from the second node
  curl -s '{second}/douyin/feed/' | head -c 600; echo

  # log in at the first node, use the token at the third, without waiting
  token=$(curl -s -X POST '{first}/douyin/user/login/?username={user}&password={PASSWORD}' | sed 's/.*"token":"\([^"]*\)".*/\1/')
  curl -s "{third}/douyin/user/?token=$token"; echo

  # who leads, who follows, how far each is; then recount every counter
  {yin} status --data {node1}
  {yin} verify --data {node1}

  # kill -9 one node, ask the others, bring it back
  make node-kill N=1
  curl -s "{second}/douyin/user/?token=$token"; echo
  make node-start N=1
"#,
        people = PEOPLE.join(", "),
        node1 = node1.display(),
    ));
}

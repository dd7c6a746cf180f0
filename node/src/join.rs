//! Becoming a member: a new node with a join token, or a damaged one under a new id.
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use transport::endpoint::{Endpoint, Options};
use transport::identity::{JoinToken, NewNode};
use transport::join::{JoinGrant, JoinRequest};
use transport::network::{Network as _, PeerId};

use crate::admission::{ADMIT, Ask, Replace};
use crate::config::Config;
use crate::directory::{Base64, Directory, Joining, Who, array};
use crate::random;

/// How long a node tries to get in before it gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it waits between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// Joins a cluster with a token and writes the identity it gets.
///
/// # Errors
/// When nothing says whom to join, the token is wrong, or nobody answers.
pub(crate) async fn join(config: &Config, directory: &Directory) -> Result<Who> {
    if config.cluster.join.is_empty() {
        bail!(
            "{} is a new data directory: found a cluster with `yin init --data {}`, or join one \
             with --join HOST:PORT --token TOKEN",
            directory.path().display(),
            directory.path().display()
        );
    }
    let token: JoinToken = config
        .join_token()?
        .context("joining needs a token: give --token or --token-file (made by `yin token`)")?
        .parse()
        .context("the join token")?;
    let joining = begin(directory)?;
    let request = JoinRequest {
        secret: token.secret,
        csr: joining.csr.0.clone(),
        incarnation: array(&joining.incarnation)?,
        zone: config.cluster.zone.clone(),
        request: array(&joining.request)?,
    };
    let grant = transport::join::join(&config.cluster.join, &token, request, PATIENCE)
        .await
        .context("joining the cluster")?;
    let who = accept(grant, &joining, config);
    directory.save_who(&who)?;
    directory.forget("joining.json")?;
    tracing::info!(
        node = who.node,
        cluster = who.cluster_id,
        "joined the cluster"
    );
    Ok(who)
}

/// Gets a new id and certificate in place of a node whose data is damaged, and sets its data aside.
///
/// # Errors
/// When no voter can be reached, or the cluster refuses.
pub(crate) async fn replace(
    config: &Config,
    directory: &Directory,
    old: &Who,
    why: &str,
) -> Result<Who> {
    tracing::error!(
        node = old.node,
        why,
        "this node's data is damaged: it will not vote again, and comes back as a new learner"
    );
    let joining = begin(directory)?;
    let endpoint = Endpoint::bind(Options {
        listen: config.cluster.listen,
        advertise: config.cluster.advertise,
        identity: old.identity(),
        gate: None,
    })
    .context("opening the cluster endpoint")?;
    let ask = Ask::Replace(Replace {
        csr: joining.csr.0.clone(),
        incarnation: array(&joining.incarnation)?,
        zone: old.zone.clone(),
        request: array(&joining.request)?,
    });
    let granted = ask_anyone(&endpoint, old, &ask).await;
    endpoint.close().await;
    let who = accept(granted?, &joining, config);
    directory.supersede(&who)?;
    directory.forget("joining.json")?;
    tracing::warn!(
        was = old.node,
        now = who.node,
        "the cluster gave this node a new id; the damaged data was kept beside"
    );
    Ok(who)
}

/// The join that is under way here, or a new one.
fn begin(directory: &Directory) -> Result<Joining> {
    if let Some(joining) = directory.joining()? {
        return Ok(joining);
    }
    let node = NewNode::generate().context("making the node's key")?;
    let joining = Joining {
        request: Base64(random::bytes::<16>().to_vec()),
        incarnation: Base64(random::bytes::<16>().to_vec()),
        key: Base64(node.key),
        csr: Base64(node.csr),
    };
    directory.save_joining(&joining)?;
    Ok(joining)
}

fn accept(grant: JoinGrant, joining: &Joining, config: &Config) -> Who {
    Who {
        cluster_id: grant.cluster_id,
        node: grant.peer.0,
        incarnation: joining.incarnation.clone(),
        zone: config.cluster.zone.clone(),
        ca_certificate: Base64(grant.ca_certificate),
        certificate: Base64(grant.certificate),
        key: joining.key.clone(),
        is_established: false,
        peers: grant
            .peers
            .into_iter()
            .map(|(peer, address)| (peer.0, address))
            .collect(),
    }
}

async fn ask_anyone(endpoint: &Endpoint, old: &Who, ask: &Ask) -> Result<JoinGrant> {
    let body = Bytes::from(postcard::to_stdvec(ask).context("encoding the request")?);
    let mut last = String::from("no other node is known");
    let tries = async {
        loop {
            for (peer, address) in old.peers.iter().filter(|(peer, _)| *peer != old.node) {
                let address: SocketAddr = address
                    .parse()
                    .with_context(|| format!("the stored address {address} of node {peer}"))?;
                endpoint.set_address(PeerId(*peer), address);
                let asked = endpoint
                    .request(PeerId(*peer), ADMIT, body.clone(), Duration::from_secs(5))
                    .await;
                match asked {
                    Ok(grant) => return postcard::from_bytes(&grant).context("reading the grant"),
                    Err(error) => last = error.to_string(),
                }
            }
            // Nobody was there: leaders are elected and nodes restarted meanwhile.
            tokio::time::sleep(PAUSE).await;
        }
    };
    match tokio::time::timeout(PATIENCE, tries).await {
        Ok(granted) => granted,
        Err(_) => bail!(
            "no voter admitted this damaged node within {} s ({last}): start the others, then \
             start this one again. Its data stays where it is",
            PATIENCE.as_secs()
        ),
    }
}

impl Directory {
    /// Lets `who` take over this directory: the old data is set aside. Either all or nothing, also
    /// over a crash: [`Directory::finish_superseding`] completes what was begun.
    fn supersede(&self, who: &Who) -> Result<()> {
        self.save_next(who)?;
        self.finish_superseding().map(drop)
    }

    /// Completes a take-over that a crash interrupted; gives where the old data went.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn finish_superseding(&self) -> Result<Option<PathBuf>> {
        if self.next()?.is_none() {
            return Ok(None);
        }
        let aside = self.set_aside()?;
        self.promote_next()?;
        Ok(Some(aside))
    }
}

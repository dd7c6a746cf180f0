//! `yin init`: a new cluster's CA and its first node, before anything runs.
use anyhow::{Context, Result, bail};
use transport::identity::{Authority, JoinToken, NewNode, SealKey};
use transport::network::PeerId;

use crate::cli::Init;
use crate::directory::{Base64, Directory, Founding, Who};
use crate::random;

/// The first node's id. Further ones are counted up in the log.
pub(crate) const FIRST_NODE: u64 = 1;

/// Writes the identity into an empty data directory and prints a join token.
///
/// # Errors
/// When the directory is not empty or the disk refuses.
pub(crate) fn run(flags: &Init) -> Result<()> {
    let directory = Directory::hold(&flags.data)?;
    if directory.who()?.is_some() {
        bail!(
            "{} belongs to a node already: start it with `yin serve --data {}`, or choose an empty \
             directory",
            flags.data.display(),
            flags.data.display()
        );
    }
    let cluster_id = hex(&random::bytes::<16>());
    let authority = Authority::generate(&cluster_id).context("making the cluster's CA")?;
    let seal_key = SealKey::generate();
    let node = NewNode::generate().context("making the node's key")?;
    let certificate = authority
        .sign(&node.csr, PeerId(FIRST_NODE))
        .context("signing the first node's certificate")?;
    let token = JoinToken::generate(&authority.certificate());

    directory.save_seal_key(&seal_key)?;
    directory.save_founding(&Founding {
        request: Base64(random::bytes::<16>().to_vec()),
        epoch: 1,
        position_key: Base64(random::bytes::<32>().to_vec()),
        sealed_ca_key: Base64(authority.seal(&seal_key)),
        token_hash: Base64(token.hash().to_vec()),
        token_uses: flags.uses,
        token_ttl_hours: flags.ttl_hours,
    })?;
    // Last: with it the directory counts as a node's.
    directory.save_who(&Who {
        cluster_id: cluster_id.clone(),
        node: FIRST_NODE,
        incarnation: Base64(random::bytes::<16>().to_vec()),
        zone: flags.zone.clone(),
        ca_certificate: Base64(authority.certificate()),
        certificate: Base64(certificate),
        key: Base64(node.key),
        is_established: false,
        peers: Vec::new(),
    })?;
    // The token alone goes to standard output, so that a script can take it.
    eprintln!(
        "cluster {cluster_id} is prepared in {}.\nStart its first node:  yin serve --data {}\n\
         Add further nodes:     yin serve --data DIR --join HOST:PORT --token TOKEN\n\
         The join token (for {} nodes, {} hours from the first start):",
        flags.data.display(),
        flags.data.display(),
        flags.uses,
        flags.ttl_hours
    );
    println!("{token}");
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! The trust list in memory: who a certificate is, without a query for each connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use lxd_db::cluster::CertificateType;
use lxd_db::cluster::Cluster;
use lxd_db::cluster::certificates::{self, Certificate};
use parking_lot::RwLock;

use super::x509;
use crate::ctx::Caller;
use crate::error::Result;

/// Who is trusted.
pub struct TrustList(RwLock<Arc<BTreeMap<String, Certificate>>>);

impl TrustList {
    /// Reads the list.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn load(cluster: &Cluster) -> Result<Self> {
        let list = Self(RwLock::default());
        list.reload(cluster).await?;
        Ok(list)
    }

    /// Reads the list again, after a change.
    ///
    /// # Errors
    /// The database can't be read.
    pub async fn reload(&self, cluster: &Cluster) -> Result<()> {
        let mut tx = cluster.read().await?;
        let all = certificates::list(&mut tx).await?;
        *self.0.write() = Arc::new(all.into_iter().map(|c| (c.fingerprint.clone(), c)).collect());
        Ok(())
    }

    /// Who shows a certificate, in DER. Certificates for metrics are not clients: see [`TrustList::may_read_metrics`].
    pub fn identify(&self, certificate: Option<&[u8]>) -> Caller {
        let Some(der) = certificate else {
            return Caller::Untrusted { certificate: None };
        };
        let list = Arc::clone(&self.0.read());
        match list.get(&x509::fingerprint(der)) {
            Some(known) if known.kind != CertificateType::Metrics => Caller::Tls {
                fingerprint: known.fingerprint.clone(),
                name: known.name.clone(),
                restricted: known.restricted,
                projects: known.projects.clone(),
            },
            _ => Caller::Untrusted {
                certificate: Some(der.to_vec()),
            },
        }
    }

    /// Whether a certificate, in DER, is trusted to read metrics.
    pub fn may_read_metrics(&self, certificate: &[u8]) -> bool {
        self.0.read().contains_key(&x509::fingerprint(certificate))
    }
}

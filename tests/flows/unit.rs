//! The unit of systemd that operators install: systemd understands every line, and it allows little.

use anyhow::{Result, ensure};
use tokio::process::Command;

use crate::need;
use crate::world::binary;

/// Tenths of what `systemd-analyze security` calls exposure; 100 is the worst.
const MOST_EXPOSED: &str = "--threshold=15";

#[tokio::test]
async fn systemd_understands_the_unit_and_finds_it_hardened() -> Result<()> {
    let Some(analyze) = need::systemd_analyze() else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let unit = std::fs::read_to_string(need::root().join("auth-server/auth-server.service"))?;
    // It looks for the program too.
    let program = binary("auth-server")?;
    let here = unit.replace("/usr/local/bin/auth-server", &program.to_string_lossy());
    ensure!(here != unit, "the unit starts another program");
    let file = folder.path().join("auth-server.service");
    std::fs::write(&file, here)?;
    for line in [
        &["verify", "--man=no"] as &[_],
        &["security", "--offline=true", "--no-pager", MOST_EXPOSED],
    ] {
        let done = Command::new(&analyze)
            .args(line)
            .arg(&file)
            .output()
            .await?;
        let complaint = String::from_utf8_lossy(&done.stderr);
        ensure!(
            done.status.success() && complaint.is_empty(),
            "{line:?}: {} {complaint}{}",
            done.status,
            String::from_utf8_lossy(&done.stdout)
        );
    }
    Ok(())
}

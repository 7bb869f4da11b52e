"""The script installs a Java runtime where there is none, and once."""

import os
import shutil
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "install_java.sh"
INSTALL = """#!/bin/sh
echo "$@" >> {calls}
test "$1" = install && printf '#!/bin/sh\\necho openjdk 17 >&2\\n' > {java} && chmod +x {java}
exit {status}
"""


def machine(folder, status=0):
    """A path on which there is what the script calls, but Java."""
    for name in ("bash", "cat", "chmod", "env", "head", "id", "mktemp", "rm", "sh"):
        (folder / name).symlink_to(shutil.which(name))
    # Instead of the one that may not be there.
    (folder / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (folder / "sudo").chmod(0o755)
    installer = folder / "apt-get"
    installer.write_text(INSTALL.format(calls=folder / "calls", java=folder / "java", status=status))
    installer.chmod(0o755)


def run(folder):
    return subprocess.run(
        [SCRIPT], env={**os.environ, "PATH": str(folder)}, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_runtime_is_installed_once(tmp_path):
    machine(tmp_path)
    first, second = run(tmp_path), run(tmp_path)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "openjdk 17" in first.stdout
    assert second.stdout == second.stderr == ""
    update, install = (tmp_path / "calls").read_text().splitlines()
    assert update.startswith("update")
    assert "--no-install-recommends openjdk-17-jre-headless" in install


def test_a_failure_is_told(tmp_path):
    machine(tmp_path, status=3)
    assert run(tmp_path).returncode == 1


def test_without_a_package_manager_it_says_what_to_do(tmp_path):
    machine(tmp_path)
    (tmp_path / "apt-get").unlink()
    done = run(tmp_path)
    assert done.returncode == 1
    assert "install a Java runtime" in done.stderr

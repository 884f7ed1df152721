"""What `uv build` packs is what runs here: SQL, migrations, moods and the mark that it is typed included."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_the_wheel_has_every_file_of_the_package(tmp_path: Path) -> None:
    uv = shutil.which("uv", path=f"{os.environ.get('PATH', '')}:{ROOT / '.uv' / 'bin'}")
    if uv is None:
        assert not os.environ.get("CI"), "not installed: uv"
        pytest.skip("not installed: uv")
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", str(tmp_path)], cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in ZipFile(wheel).namelist() if name.startswith("chappe/") and not name.endswith("/")}
    source = ROOT / "src"
    files = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert packed == {name for name in files if "__pycache__" not in name}
    assert {"chappe/py.typed", "chappe/storage/sqlite.sql", "chappe/simulator/moods/ovh.toml"} <= packed

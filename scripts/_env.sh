# Sourced by the scripts beside it: finds uv, or installs it into .uv/, and brings .venv/ up to the lock file.
set -eu
cd "$(dirname "$0")/.."
export UV_PYTHON_DOWNLOADS=never
unset PYTHONDONTWRITEBYTECODE # or every process that is started compiles all that it imports
if ! command -v uv >/dev/null 2>&1; then
    if [ ! -x .uv/bin/uv ]; then
        echo "Installing uv into .uv/ …" >&2
        python3 -m venv .uv
        .uv/bin/pip install --quiet --disable-pip-version-check uv
    fi
    PATH="$PWD/.uv/bin:$PATH"
fi
uv sync --frozen --quiet

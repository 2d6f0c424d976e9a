"""The Makefile's commands in a home folder and an environment that, passed on, would change what each of them does."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from study.report.provenance import git
from tests.study.commands.test_execute import SOURCE

ROOT = Path(__file__).parents[3]
VALUES = {
    "PYTHONHOME": "/none", "PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error", "PYTHONINSPECT": "1", "PYTHONUTF8": "0",
    "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0", "PYTHONPLATLIBDIR": "none", "PYTHONBREAKPOINT": "x",
    "PYTHONSAFEPATH": "1", "PYTHONINTMAXSTRDIGITS": "640", "PYTHONHASHSEED": "7",
    "JUPYTER_PLATFORM_DIRS": "1", "JUPYTER_PREFER_ENV_PATH": "0", "JUPYTER_RUNTIME_DIR": "/proc/none",
    "JUPYTER_DEFAULT_PROVISIONER_NAME": "none", "IPYKERNEL_CELL_NAME": "x", "JPY_SESSION_NAME": "x",
    "NBFORMAT_VALIDATOR": "none", "TRAITLETS_APPLICATION_RAISE_CONFIG_FILE_ERROR": "1", "MPLBACKEND": "tkagg",
    "READTHEDOCS": "True", "SPHINX_APIDOC_OPTIONS": "x", "SCIPY_ARRAY_API": "1", "SKLEARN_WORKING_MEMORY": "x",
    "PANDAS_FUTURE_INFER_STRING": "1", "TQDM_MININTERVAL": "x", "HF_DEBUG": "1", "HF_ENABLE_PARALLEL_LOADING": "true",
    "TRANSFORMERS_VERBOSITY": "x", "TRANSFORMERS_SDPA_FORCE_GQA": "1", "USE_HUB_KERNELS": "1",
    "ACCELERATE_USE_FSDP": "true", "ACCELERATE_MIXED_PRECISION": "fp16", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
    "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "PIP_VERSION": "1", "PIP_USER": "1", "PIP_TARGET": "/none",
    "GIT_DIR": "/none", "GIT_WORK_TREE": "/none", "GIT_LITERAL_PATHSPECS": "1", "SHELLOPTS": "noexec", "CDPATH": "/",
    "BASH_FUNC_python%%": "() { false; }", "POSIXLY_CORRECT": "1", "QUOTING_STYLE": "c", "COLUMNS": "3",
    "LANGUAGE": "de",
}  # fmt: skip
OWN = {
    "HF_HOME": "/x/hf", "HF_TOKEN": "x", "HF_HUB_CACHE": "/x/hub", "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": "https://x.org",
    "XDG_CACHE_HOME": "/x/cache", "IFCORE_CACHE": "/x/ifcore", "TMPDIR": "/tmp", "https_proxy": "http://x:1",
    "SSL_CERT_FILE": "/x/certificates", "PIP_INDEX_URL": "https://x.org/simple", "OMP_NUM_THREADS": "3",
    "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "CUDA_VISIBLE_DEVICES": "1", "SLURM_JOB_ID": "5",
    "SBATCH_ACCOUNT": "x", "GIT_CONFIG_COUNT": "0", "TZ": "Asia/Tokyo", "LC_ALL": "C", "DISPLAY": ":7",
}  # fmt: skip


def hostile_home(home: Path) -> dict[str, str]:
    """Fill a home folder with settings, none of which may count; the variables that name it and further ones."""
    kernel = {"argv": ["/bin/false", "{connection_file}"], "display_name": "None", "language": "python"}
    end, settings = "import os; os._exit(7)", "font.size: 90\nbackend: tkagg\nsvg.fonttype: path\n"
    files = {".config/snakemake/none/config.yaml": "dry-run: true\n", "bash": "exit 1\n"}
    files |= {f"{at}/kernels/python3/kernel.json": json.dumps(kernel) for at in (".local/share/jupyter", ".ipython")}
    files |= {f".ipython/profile_default/{name}.py": end for name in ("startup/a", "ipython_config")}
    files |= {f".jupyter/{name}_config.py": end for name in ("jupyter", "nbclient", "papermill", "jupyter_client")}
    files |= {f".config/matplotlib/{name}": settings for name in ("matplotlibrc", "stylelib/default.mplstyle")}
    files |= {f"modules/{name}.py": end for name in ("sitecustomize", "yaml", "start")}
    files |= {f"{sub}/jupytext.toml": "none = 1\n" for sub in (".", ".config")}
    files |= {".docutils": "[general]\nhalt_level: 1\nraw_enabled: false\n"}
    files |= {".gitconfig": "[status]\nshowUntrackedFiles = no\n[log]\nshowSignature = true\n"}
    files |= {".cache/huggingface/accelerate/default_config.yaml": "mixed_precision: fp16\n"}
    for name, content in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(content)
    places = {"HOME": ".", "SNAKEMAKE_PROFILE": ".config/snakemake/none", "JUPYTER_PATH": ".local/share/jupyter"}
    places |= {"JUPYTER_CONFIG_DIR": ".jupyter", "JUPYTER_CONFIG_PATH": ".jupyter", "IPYTHONDIR": ".ipython"}
    places |= {"MPLCONFIGDIR": ".config/matplotlib", "MATPLOTLIBRC": ".config/matplotlib/matplotlibrc"}
    places |= {"PYTHONPATH": "modules", "PYTHONSTARTUP": "modules/start.py", "PYTHONUSERBASE": ".local"}
    places |= {"DOCUTILSCONFIG": ".docutils", "BASH_ENV": "bash", "ENV": "bash"}
    return VALUES | {name: str(home / place) for name, place in places.items()}


@pytest.fixture
def hostile(tmp_path):
    return hostile_home(tmp_path / "home")


@pytest.fixture
def run(tmp_path, hostile):
    """Runs a command as the Makefile would: run(command, LAB="") -> CompletedProcess; the caller sets variables."""
    shutil.copy(ROOT / "Makefile", tmp_path)

    def run(command, *arguments, **variables):
        make = ["make", "--eval", f"try: ; {command}", "try", f"VENV={sys.prefix}", *arguments]
        options = {"cwd": tmp_path, "capture_output": True, "text": True}
        return subprocess.run(make, env={"PATH": "/usr/local/bin:/usr/bin:/bin"} | hostile | variables, **options)

    return run


def passed_on(run, *arguments, **variables):
    return dict(line.split("=", 1) for line in run("env -0", *arguments, **variables).stdout.split("\0") if line)


def test_what_changes_a_tool_is_not_passed_on_and_places_networks_threads_and_clusters_are(run, hostile):
    environment = passed_on(run, **OWN)
    assert {name for name in hostile if environment.get(name) == hostile[name]} == {"HOME"}
    assert {name: environment.get(name) for name in OWN} == OWN


def test_jupyterlabs_settings_are_the_users_and_its_kernel_is_this_environments(run, hostile):
    environment = passed_on(run, "LAB=notebook")
    assert environment["JUPYTER_CONFIG_DIR"] == hostile["JUPYTER_CONFIG_DIR"]
    assert environment["JUPYTER_PATH"] == f"{sys.prefix}/share/jupyter:{hostile['JUPYTER_PATH']}"
    code = "from jupyter_client.kernelspec import get_kernel_spec as spec; print(spec('python3').resource_dir)"
    done = run(f'python -c "{code}"', "LAB=notebook")
    assert done.stdout.strip() == f"{sys.prefix}/share/jupyter/kernels/python3", done.stderr


def test_a_notebooks_kernel_is_this_environments_and_matplotlibs_settings_are_its_own(run, tmp_path):
    code = 'import matplotlib as m, sys\nprint(sys.prefix, m.rcParams["font.size"], m.get_backend()[-6:], "é")'
    (tmp_path / "a.md").write_text(SOURCE.replace("x = 1", code))
    (tmp_path / "p.yaml").write_text("profile: p\n")
    done = run("python -m study.commands.execute p.yaml 0 a.md out.ipynb")
    assert done.returncode == 0, done.stderr
    outputs = [output for cell in nbformat.read(tmp_path / "out.ipynb", 4).cells for output in cell.get("outputs", [])]
    assert [output.text.split() for output in outputs] == [[sys.prefix, "10.0", "inline", "é"]]


def test_snakemake_makes_what_is_asked_unless_its_arguments_name_a_profile(run, tmp_path, hostile):
    (tmp_path / "Snakefile").write_text("rule:\n    output: 'made'\n    shell: 'echo $$ > {output}'\n")
    given = run(f"snakemake --cores 1 --profile {hostile['SNAKEMAKE_PROFILE']} -- made")
    assert given.returncode == 0 and not (tmp_path / "made").exists(), given.stderr
    done = run("snakemake --cores 1 -- made")
    assert done.returncode == 0 and (tmp_path / "made").exists(), done.stderr


def test_a_page_is_built_without_the_users_docutils_settings(run, tmp_path):
    for name, text in {
        "_config.yml": "title: A",
        "_toc.yml": "format: jb-book\nroot: a",
        "a.md": "# A\n\n<b>B</b>\n",
    }.items():
        (tmp_path / name).write_text(text)
    done = run("jupyter-book build . -W -n -q && grep -q '<b>B</b>' _build/html/a.html")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_files_that_git_does_not_know_count_whatever_the_user_has_git_show(tmp_path, hostile, monkeypatch):
    monkeypatch.setenv("HOME", hostile["HOME"])
    git(tmp_path, "init")
    assert git(tmp_path, "status", "--porcelain") == "?? home/"

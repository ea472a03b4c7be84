"""Private mode takes WebGPU only where it is faster and right."""

from __future__ import annotations

import pytest

from tests.web.test_private import Visit

CHOICE = """async ([webgpu, difference, fails]) => {
    const { Runtime } = await import("/assets/app/private/runtime.js");
    let clock = 0;
    performance.now = () => clock;
    const released = [];
    const create = async (bytes, { executionProviders: [provider] }) => {
      if (provider === "webgpu" && fails === "create") throw new Error("no device");
      return {
        provider, inputNames: ["pixels"], outputNames: ["y"],
        run: async () => {
          if (provider === "webgpu" && fails === "run") throw new Error("device lost");
          clock += provider === "webgpu" ? webgpu : 10;
          return { y: { data: Float32Array.of(1, provider === "webgpu" ? 2 + difference : 2) } };
        },
        release: async () => released.push(provider),
      };
    };
    const ort = { InferenceSession: { create }, Tensor: class {} };
    const { session, provider } = await new Runtime(ort, "").open(new Uint8Array(), [1, 2]);
    return [session.provider, provider, released.join()];
}"""


@pytest.mark.parametrize(
    ("milliseconds", "difference", "fails", "chosen"),
    [
        (5, 1e-5, "", "webgpu"),
        (15, 0, "", "wasm"),
        (5, 0.01, "", "wasm"),
        (5, float("nan"), "", "wasm"),
        (5, 0, "create", "wasm"),
        (5, 0, "run", "wasm"),
    ],
)
def test_webgpu_is_taken_where_it_is_faster_and_right(
    visit: Visit, milliseconds: float, difference: float, fails: str, chosen: str
) -> None:
    found = visit().evaluate(CHOICE, [milliseconds, difference, fails])
    other = {"webgpu": "wasm", "wasm": "webgpu"}[chosen]
    assert found == [chosen, chosen, "" if fails == "create" else other]

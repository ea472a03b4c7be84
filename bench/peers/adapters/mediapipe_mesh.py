"""MediaPipe's own face mesh as a process: `mediapipe_mesh.py FACES.npy OUT.npz`.

FACES.npy is uint8 [n, 192, 192, 3], RGB crops of faces. OUT.npz gets `points`, float32 [n, 468, 3],
and `scores`, float32 [n], from TensorFlow Lite on the CPU. tests/test_face_mesh.py compares the
ONNX file of tools/convert_face_mesh.py with it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import mediapipe as mp
import numpy as np
from mediapipe.python import packet_creator, packet_getter
from mediapipe.python._framework_bindings import resource_util

SPLIT = " ".join(f"ranges {{ begin: {i} end: {i + 1} }}" for i in range(2))
GRAPH = f"""
input_stream: "image"
output_stream: "points"
output_stream: "score"
node {{ calculator: "ImageToTensorCalculator" input_stream: "IMAGE:image"
  output_stream: "TENSORS:in" options {{ [mediapipe.ImageToTensorCalculatorOptions.ext] {{
    output_tensor_width: 192 output_tensor_height: 192
    output_tensor_float_range {{ min: 0.0 max: 1.0 }} }} }} }}
node {{ calculator: "InferenceCalculator" input_stream: "TENSORS:in" output_stream: "TENSORS:out"
  options {{ [mediapipe.InferenceCalculatorOptions.ext] {{ delegate {{ tflite {{}} }}
    model_path: "mediapipe/modules/face_landmark/face_landmark.tflite" }} }} }}
node {{ calculator: "SplitTensorVectorCalculator" input_stream: "out" output_stream: "first"
  output_stream: "second"
  options {{ [mediapipe.SplitVectorCalculatorOptions.ext] {{ {SPLIT} }} }} }}
node {{ calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:first"
  output_stream: "FLOATS:points" }}
node {{ calculator: "TensorsToFloatsCalculator" input_stream: "TENSORS:second"
  output_stream: "FLOATS:score" }}
"""


def main() -> None:
    faces = np.load(sys.argv[1])
    resource_util.set_resource_dir(str(Path(mp.__file__).parents[1]))
    found: dict[str, list[list[float]]] = {"points": [], "score": []}
    graph = mp.CalculatorGraph(graph_config=GRAPH)
    for name, values in found.items():
        graph.observe_output_stream(
            name, lambda _, packet, v=values: v.append(packet_getter.get_float_list(packet))
        )
    graph.start_run()
    for time, face in enumerate(faces):
        image = packet_creator.create_image_frame(face, image_format=mp.ImageFormat.SRGB)
        graph.add_packet_to_input_stream("image", image.at(time))
    graph.close_all_packet_sources()
    graph.wait_until_done()
    logits = np.array(found["score"], np.float64)[:, 0]
    points = np.array(found["points"], np.float32).reshape(len(faces), -1, 3)
    np.savez(sys.argv[2], points=points, scores=(1 / (1 + np.exp(-logits))).astype(np.float32))


if __name__ == "__main__":
    main()

// Captures camera frames to send, and keeps the last ones: an answer is shown with its own frame.

import { el } from "./dom.js";

const KEPT = 4; // one more than can be unanswered or on screen
const MAX_SIDE = 640; // pixels: larger frames find hardly more faces and cost upload time

export class FrameCapture {
  constructor() {
    this.canvases = Array.from({ length: KEPT }, () => el("canvas"));
  }

  /** Capture frame `number`; it is kept until KEPT more are captured. */
  take(video, number) {
    const canvas = this.get(number);
    const scale = Math.min(1, MAX_SIDE / Math.max(video.videoWidth, video.videoHeight));
    const width = Math.round(video.videoWidth * scale), height = Math.round(video.videoHeight * scale);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    canvas.getContext("2d", { alpha: false }).drawImage(video, 0, 0, width, height);
    return canvas;
  }

  get(number) {
    return this.canvases[number % KEPT];
  }
}

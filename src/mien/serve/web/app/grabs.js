// Pictures taken from a camera to be read: what an answer is about can be shown with it.

import { el } from "./dom.js";

const KEPT = 4, LONGEST = 640; // pixels: what the detector wants

export class Grabs {
  constructor() {
    this.canvases = Array.from({ length: KEPT }, () => el("canvas"));
  }

  /** Take the picture with that number; it stays until KEPT more were taken. */
  take(video, number) {
    const canvas = this.get(number);
    const scale = Math.min(1, LONGEST / Math.max(video.videoWidth, video.videoHeight));
    const width = Math.round(video.videoWidth * scale), height = Math.round(video.videoHeight * scale);
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    canvas.getContext("2d", { alpha: false }).drawImage(video, 0, 0, width, height);
    return canvas;
  }

  get(number) {
    return this.canvases[number % KEPT];
  }
}

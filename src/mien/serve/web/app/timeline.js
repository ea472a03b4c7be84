// Probabilities of each person over time as stacked areas, with the predicted label below.

import { clock, count, hue, named, paint, UNSURE } from "./names.js";
import { el } from "./dom.js";
import { GAP_INTERVALS } from "./constants.js";
import { usualStep } from "./people.js";

const LANE = 38, NAME = 6, SPACE = 12, LEFT = 30, FOOT = 22, BREAK_S = 1;
const MAX_LANES = 8, MAX_POINTS = 900;

export class Timeline {
  /**
   * @param {HTMLElement} figure contains the timeline.
   * @param {number | null} window seconds shown of a camera; null shows a whole video.
   * @param {((time: number) => void) | null} onSeek called when the user chooses a time.
   * @param {Node | null} player controls shown above.
   */
  constructor(figure, labels, { window = null, onSeek = null, player = null } = {}) {
    Object.assign(this, { figure, labels, window, onSeek, frames: [], threshold: 0, head: null });
    this.canvas = el("canvas", { role: onSeek ? "slider" : "img", tabindex: onSeek ? 0 : null });
    const keys = [...labels, UNSURE].map((label) => {
      const dot = el("i", { class: "dot" });
      dot.style.setProperty("--hue", hue(label));
      return el("span", { class: "key" }, dot, label);
    });
    figure.replaceChildren(el("figcaption", {}, player, ...keys), this.canvas);
    if (onSeek) this.listen();
    this.watcher = new ResizeObserver(() => this.draw());
    this.watcher.observe(figure);
  }

  remove() {
    this.watcher.disconnect();
    this.figure.replaceChildren();
  }

  /** Draw frames; `duration` of a video, in seconds. */
  show(frames, threshold, duration = 0) {
    Object.assign(this, { frames, threshold, duration });
    this.draw();
  }

  /** Move the playhead. */
  moveTo(time) {
    this.head = time;
    this.draw();
  }

  get span() {
    const last = this.frames.at(-1)?.time_s ?? 0;
    if (this.window) return [Math.max(0, last - this.window), Math.max(last, this.window)];
    return [0, Math.max(this.duration || last, 0.1)];
  }

  draw() {
    const width = this.canvas.clientWidth;
    if (!width) return;
    const [begin, end] = this.span;
    const lanes = this.lanes(begin);
    const height = (LANE + NAME + SPACE) * Math.max(lanes.length, 1) + FOOT;
    const dense = Math.min(devicePixelRatio || 1, 2);
    if (this.canvas.width !== Math.round(width * dense) || this.canvas.height !== height * dense) {
      Object.assign(this.canvas, { width: Math.round(width * dense), height: height * dense });
      this.canvas.style.height = `${height}px`;
    }
    const pen = this.canvas.getContext("2d");
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.clearRect(0, 0, width, height);
    const style = getComputedStyle(document.documentElement);
    this.colours = Object.fromEntries([...this.labels, UNSURE].map((label) => [label, paint(label)]));
    this.ink = Object.fromEntries(["--ink", "--soft", "--line", "--well"].map((name) => [name, style.getPropertyValue(name)]));
    const x = (time) => LEFT + ((time - begin) / (end - begin)) * (width - LEFT);
    this.axis(pen, x, begin, end, height);
    lanes.forEach(([track, points], i) => this.lane(pen, x, i * (LANE + NAME + SPACE), track, points, width));
    if (this.head !== null) {
      pen.fillStyle = this.ink["--ink"];
      pen.fillRect(x(this.head) - 1, 0, 2, height - FOOT);
    }
    this.describe(lanes.length, begin, end);
  }

  /** The tracks in the shown time span: the longest ones, if there are too many. */
  lanes(begin) {
    const people = new Map();
    for (const frame of this.frames) {
      if (frame.time_s < begin) continue;
      for (const face of frame.faces) {
        if (!people.has(face.track)) people.set(face.track, []);
        people.get(face.track).push({ time: frame.time_s, face });
      }
    }
    return [...people].sort((a, b) => b[1].length - a[1].length).slice(0, MAX_LANES)
      .sort((a, b) => a[0] - b[0]);
  }

  lane(pen, x, top, track, points, width) {
    pen.fillStyle = this.ink["--soft"];
    pen.font = "600 13px system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.textAlign = "left";
    pen.fillText(String(track), 4, top + LANE / 2);
    pen.fillStyle = this.ink["--well"];
    pen.fillRect(LEFT, top, width - LEFT, LANE);
    const step = Math.ceil(points.length / MAX_POINTS);
    const kept = step > 1 ? points.filter((_, i) => i % step === 0) : points;
    const usual = usualStep(this.frames, this.frames.length - 1);
    const gap = Math.max(BREAK_S, GAP_INTERVALS * usual, GAP_INTERVALS * step * ((points.at(-1).time - points[0].time) / points.length || 0));
    for (const run of runs(kept, gap)) {
      const { time, face } = run.at(-1), end = Math.min(time + usual, this.span[1]);
      if (end > time) run.push({ time: end, face }); // the last frame has a duration, too
      this.areas(pen, x, top, run);
    }
  }

  areas(pen, x, top, run) {
    const low = new Float64Array(run.length);
    const xs = run.map(({ time }) => x(time));
    if (run.length === 1) xs[0] -= 1;
    for (const label of this.labels) {
      const edge = run.map(({ face }, i) => low[i] + face.probabilities[label]);
      pen.beginPath();
      run.forEach((_, i) => pen.lineTo(xs[i], top + LANE * (1 - edge[i])));
      if (run.length === 1) pen.lineTo(xs[0] + 2, top + LANE * (1 - edge[0]));
      if (run.length === 1) pen.lineTo(xs[0] + 2, top + LANE * (1 - low[0]));
      for (let i = run.length - 1; i >= 0; i--) pen.lineTo(xs[i], top + LANE * (1 - low[i]));
      pen.fillStyle = this.colours[label];
      pen.fill();
      edge.forEach((value, i) => (low[i] = value));
    }
    run.forEach(({ face }, i) => {
      pen.fillStyle = this.colours[named(face, this.threshold).label];
      const to = i + 1 < run.length ? xs[i + 1] : xs[i] + 2;
      pen.fillRect(xs[i], top + LANE + 2, Math.max(to - xs[i], 1) + 0.5, NAME - 2);
    });
  }

  axis(pen, x, begin, end, height) {
    const steps = [0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 3600];
    const step = steps.find((s) => x(begin + s) - x(begin) >= 64) ?? 7200;
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "alphabetic";
    for (let time = Math.ceil(begin / step) * step; time <= end; time += step) {
      pen.fillStyle = this.ink["--line"];
      pen.fillRect(x(time), 0, 1, height - FOOT + 4);
      pen.fillStyle = this.ink["--soft"];
      pen.textAlign = x(time) > x(end) - 24 ? "right" : time === 0 ? "left" : "center";
      pen.fillText(clock(time), x(time), height - 4);
    }
  }

  describe(lanes, begin, end) {
    const people = count(lanes, "person", "people");
    if (!this.onSeek) {
      const words = `Timeline of the last ${Math.round(end - begin)} seconds: ${people}`;
      this.canvas.setAttribute("aria-label", words);
      return;
    }
    this.canvas.setAttribute("aria-label", `Timeline of ${people}: moment in the video`);
    const now = this.head ?? 0;
    for (const [name, value] of [["valuemin", 0], ["valuemax", end.toFixed(1)], ["valuenow", now.toFixed(1)],
      ["valuetext", clock(Number(now.toFixed(1)))]]) this.canvas.setAttribute(`aria-${name}`, value);
  }

  listen() {
    const seek = (time) => {
      const within = Math.min(Math.max(time, 0), this.span[1]);
      this.moveTo(within); // at once: the next key press is relative to this
      this.onSeek(within);
    };
    const point = (event) => {
      const { left, width } = this.canvas.getBoundingClientRect();
      seek(((event.clientX - left - LEFT) / (width - LEFT)) * this.span[1]);
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      point(event);
    });
    this.canvas.addEventListener("pointermove", (event) => event.buttons && point(event));
    this.canvas.addEventListener("keydown", (event) => {
      const moves = { ArrowLeft: -0.5, ArrowRight: 0.5, ArrowDown: -0.5, ArrowUp: 0.5, PageDown: -5, PageUp: 5 };
      const to = { Home: 0, End: this.span[1] }[event.key] ?? (moves[event.key] && (this.head ?? 0) + moves[event.key]);
      if (to === undefined) return;
      event.preventDefault();
      seek(to);
    });
  }
}

/** Split at gaps: no face, or a face that was not classified. */
function runs(points, gap) {
  const found = [];
  let run = [];
  for (const point of points) {
    const read = point.face.probabilities !== null;
    if (run.length && (!read || point.time - run.at(-1).time > gap)) {
      found.push(run);
      run = [];
    }
    if (read) run.push(point);
  }
  return run.length ? [...found, run] : found;
}

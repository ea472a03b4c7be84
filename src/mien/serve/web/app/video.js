// Video session: the whole video is processed, then played with faces, timeline and summary.

import { $, el, icon, say, throttled } from "./dom.js";
import { Following } from "./following.js";
import { minutes } from "./names.js";
import { Overlay } from "./overlay.js";
import { frameAt } from "./people.js";
import { portraits } from "./portraits.js";
import * as stage from "./stage.js";

const EMPTY = ["Nobody seen", "No face was found in this video."];

export class Video extends Following {
  constructor(choices, file) {
    super(choices, file.name || "video");
    this.file = file;
    this.url = URL.createObjectURL(file);
    this.refreshSoon = throttled(0.4, () => this.refresh());
  }

  async start() {
    this.video = el("video", { src: this.url, playsinline: true, preload: "auto", "aria-label": this.fileName });
    this.video.muted = true;
    this.video.onclick = () => this.toggle();
    this.video.onerror = () => stage.blank("none", "This browser cannot play this video; its results are below.");
    this.holder = stage.frame(this.video);
    this.overlay = new Overlay(this.holder);
    stage.title(this.fileName);
    stage.canSave(false);
    stage.results("People", "", [stage.nobody("Processing", "People are listed here when the video has been processed.")]);
    this.stopped = new AbortController();
    const { signal } = this.stopped;
    const cancel = () => {
      this.stopped.abort();
      this.fail({ message: "You cancelled the processing", hint: "" });
    };
    try {
      const { reader, model } = this.choices;
      const progress = (fraction, words) => signal.aborted || stage.progress(fraction, words, cancel);
      this.frames = await reader.readVideo(this.file, { model, signal, progress });
      if (!signal.aborted) this.play();
    } catch (error) {
      if (!signal.aborted) this.fail(error);
    }
  }

  fail(error) {
    stage.progress(null);
    stage.notice(error, { name: "Try again", run: () => this.again() });
    stage.results("People", "", [stage.nobody("Not processed", "See the message above the video.")]);
  }

  again() {
    this.stopped.abort();
    stage.notice(null);
    stage.progress(null);
    this.forget();
    return this.start();
  }

  play() {
    stage.progress(null);
    const { video } = this;
    this.openTimeline({ onSeek: (time) => (video.currentTime = time), player: this.controls() });
    const duration = Number.isFinite(video.duration) ? video.duration : 0;
    this.timeline.show(this.frames, this.choices.threshold, duration);
    this.end = duration || null;
    const step = (now, shown) => {
      if (this.stopped.signal.aborted) return;
      this.moveTo(shown?.mediaTime ?? video.currentTime);
      // Only this callback gives the displayed frame's time; currentTime is an approximation.
      if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(step);
      else requestAnimationFrame(step);
    };
    step();
    this.refresh();
    portraits(this.url, this.frames, this.cards, this.stopped.signal);
    say(`The video was processed: ${$("results-title").textContent}.`);
  }

  controls() {
    const { video } = this;
    const start = el("button", { type: "button", id: "play", onclick: () => this.toggle() });
    const sound = el("button", { type: "button", class: "plain", id: "sound", onclick: () => (video.muted = !video.muted) });
    const show = () => {
      start.replaceChildren(icon(video.paused ? "play" : "pause"), video.paused ? "Play" : "Pause");
      sound.replaceChildren(icon(video.muted ? "silent" : "sound"), video.muted ? "Sound off" : "Sound on");
    };
    video.onplay = video.onpause = video.onvolumechange = show;
    show();
    this.clock = el("p");
    return el("div", { class: "player" }, start, this.clock, sound);
  }

  toggle() {
    if (!this.timeline) return;
    if (this.video.paused) this.video.play();
    else this.video.pause();
  }

  moveTo(time) {
    this.frame = frameAt(this.frames, time);
    this.draw();
    this.timeline.moveTo(time);
    this.clock.textContent = `${minutes(time)} / ${minutes(this.timeline.span[1])}`;
    this.refreshSoon();
  }

  draw() {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (width) this.overlay.show(this.frame?.faces ?? [], width, height, this.choices.threshold);
  }

  refresh() {
    if (this.overlay) this.list(this.frame, this.video.readyState > 1 ? this.video : null, EMPTY);
  }

  rename() {
    if (!this.timeline) return;
    this.draw();
    this.timeline.show(this.frames, this.choices.threshold, this.timeline.duration);
    this.refresh();
  }

  close() {
    this.stopped?.abort();
    this.forget();
    this.video.removeAttribute("src");
    URL.revokeObjectURL(this.url);
  }

  png() {
    return this.snapshot(this.video, this.frame, false);
  }
}

// The camera: its video with the faces of the newest answer, and a timeline of the last 30 seconds.

import { UserError } from "./api.js";
import { el, icon, say, throttled } from "./dom.js";
import { Following } from "./following.js";
import { named, UNREAD } from "./names.js";
import { Overlay } from "./overlay.js";
import * as stage from "./stage.js";

const WINDOW_S = 30, MAX_FRAMES = 36_000;
const EMPTY = ["Nobody in sight", "Faces are listed here as soon as the camera sees one."];

export class Camera extends Following {
  constructor(choices) {
    super(choices, "camera");
    this.device = null;
    this.times = [];
    this.draw = throttled(0.12, () => this.timeline?.show(this.frames, this.choices.threshold));
    this.refresh = throttled(0.3, () => this.list(this.frame, this.source, EMPTY));
  }

  async start() {
    stage.title("Camera");
    stage.blank("person", "Waiting for the camera. Your browser may ask whether the page may use it.");
    stage.results("People", "", [stage.nobody(...EMPTY)]);
    stage.canSave(false);
    try {
      this.stream = await openCamera(this.device);
      if (this.closed) return this.release();
      await this.run();
    } catch (error) {
      this.fail(error);
    }
  }

  async run() {
    const settings = this.stream.getVideoTracks()[0].getSettings();
    this.device = settings.deviceId;
    this.mirrored = settings.facingMode !== "environment";
    this.video = el("video", { autoplay: true, muted: true, playsinline: true, "aria-label": "Camera" });
    this.video.muted = true;
    this.video.srcObject = this.stream;
    this.stream.getVideoTracks()[0].onended = () => this.fail(new UserError("the camera was disconnected", "connect it again"));
    await this.video.play();
    this.holder = stage.frame(this.video, "fill", ...(this.mirrored ? ["mirrored"] : []));
    this.overlay = new Overlay(this.holder, this.mirrored);
    this.openTimeline({ window: WINDOW_S });
    this.draw();
    await this.buttons();
    await this.connect();
  }

  async connect() {
    const { reader, model } = this.choices;
    this.live = await reader.live({ model, onReading: (answer, image) => this.take(answer, image), onEnd: (error) => this.fail(error) });
    if (this.closed) return this.live.close();
    const { live, video } = this;
    const step = () => {
      if (this.closed || this.live !== live) return;
      if (live.ready) live.send(video);
      if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(step);
      else requestAnimationFrame(step);
    };
    step();
  }

  async buttons() {
    const devices = await navigator.mediaDevices.enumerateDevices();
    this.others = devices.filter(({ kind }) => kind === "videoinput").map(({ deviceId }) => deviceId);
    this.rate = el("span", { class: "live" }, "Live");
    const swap = this.others.length > 1 && el("button", { type: "button", class: "plain", onclick: () => this.swap() }, icon("swap"), "Other camera");
    const stop = el("button", { type: "button", id: "stop", onclick: () => this.stop() }, icon("stop"), "Stop");
    stage.title("Camera", this.rate, ...(swap ? [swap] : []), stop);
  }

  take(answer, image) {
    if (this.closed) return;
    this.source = image;
    const last = this.frames.at(-1)?.time_s ?? 0;
    // Each connection's time starts at 0; the timeline continues.
    this.offset ??= last ? last + 0.5 - answer.time_s : 0;
    this.frame = { ...answer, time_s: answer.time_s + this.offset, frame: this.frames.length };
    this.frames.push(this.frame);
    if (this.frames.length > MAX_FRAMES) this.frames.splice(0, MAX_FRAMES / 10);
    this.overlay.show(answer.faces, answer.width, answer.height, this.choices.threshold);
    this.draw();
    this.refresh();
    this.count();
    this.announce(answer.faces);
  }

  count() {
    const now = performance.now();
    this.times.push(now);
    while (this.times[0] < now - 2000) this.times.shift();
    const span = Math.max(now - this.times[0], 1) / 1000;
    const rate = this.times.length > 3 ? (this.times.length - 1) / span : 0;
    this.rate.textContent = rate ? `Live, ${Math.round(rate)} a second` : "Live";
  }

  /** Announce faces and labels to screen readers when they change, at most every four seconds. */
  announce(faces) {
    const words = faces.map((face) => {
      const { label } = named(face, this.choices.threshold);
      return `person ${face.track} ${label === UNREAD ? "skipped" : label}`;
    }).join(", ") || "nobody in sight";
    if (words !== this.announced && performance.now() - (this.announcedAt ?? -1e9) > 4000) {
      Object.assign(this, { announced: words, announcedAt: performance.now() });
      say(words);
    }
  }

  /** Stop the camera; results and the last frame stay. */
  stop() {
    if (this.closed) return;
    this.release();
    const { width, height } = this.source ?? { width: 4, height: 3 };
    const still = el("canvas", { width, height, role: "img", "aria-label": "The camera's last picture" });
    if (this.source) still.getContext("2d").drawImage(this.source, 0, 0);
    this.video.replaceWith(still);
    this.source = still;
    const again = el("button", { type: "button", id: "restart", onclick: () => this.restart() }, "Start again");
    stage.title("Camera, stopped", again);
    again.focus();
    say("The camera is off.");
  }

  restart() {
    this.closed = false;
    this.offset = null;
    this.overlay?.remove();
    this.source = this.frame = null;
    this.times = [];
    return this.start();
  }

  swap() {
    this.device = this.others[(this.others.indexOf(this.device) + 1) % this.others.length];
    this.release();
    return this.restart();
  }

  /** The model changed, or where frames are processed. */
  async again() {
    if (this.closed || !this.live) return;
    this.live.close();
    this.live = null;
    this.offset = null;
    this.frames = [];
    this.cards.clear();
    this.openTimeline({ window: WINDOW_S });
    await this.connect().catch((error) => this.fail(error));
  }

  rename() {
    const { frame } = this;
    if (frame) this.overlay.show(frame.faces, frame.width, frame.height, this.choices.threshold);
    this.draw();
    this.refresh();
  }

  fail(error) {
    if (this.closed) return;
    this.release();
    if (!this.frames.length) stage.blank("person", "The camera is off.");
    stage.title("Camera");
    stage.notice(error, { name: "Try again", run: () => {
      stage.notice(null);
      return this.restart();
    } });
  }

  release() {
    this.closed = true;
    this.live?.close();
    for (const track of this.stream?.getTracks() ?? []) {
      track.onended = null;
      track.stop();
    }
  }

  close() {
    this.release();
    this.forget();
  }

  png() {
    return this.snapshot(this.source, this.frame, this.mirrored);
  }
}

async function openCamera(device) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new UserError("this page may not use the camera",
      "browsers give it only to pages over https or on localhost");
  }
  const which = device ? { deviceId: { exact: device } } : { facingMode: "user" };
  const video = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 }, ...which };
  try {
    return await navigator.mediaDevices.getUserMedia({ video, audio: false });
  } catch (error) {
    throw {
      NotAllowedError: new UserError("the camera is blocked", "allow it for this page, with the icon in the address bar, and try again"),
      NotFoundError: new UserError("no camera was found", "connect one, or choose files instead"),
      NotReadableError: new UserError("another program uses the camera", "close it there and try again"),
    }[error.name] ?? new UserError(`the camera could not be started: ${error.message}`, "choose files instead");
  }
}

// Frames to tracked faces and their expressions, as mien.video.pipeline does live: faces are
// detected five times a second, predicted in between, and classified 15 times a second;
// probabilities are smoothed along each track.

import {
  DETECT_S, FADE_INTERVALS, FORGET_S, LOST_S, CLASSIFY_S, SHORTER_SIDE, TIME_CONSTANT_S,
} from "../constants.js";
import { cropFace } from "./align.js";
import { lostAfter, SamplingInterval } from "./pace.js";
import { detectedPose } from "./pose.js";
import { judge } from "./quality.js";
import { reduce } from "./resample.js";
import { Tracker } from "./tracker.js";

const axes = [0, 1, 2];
const MAX_FORESIGHT_S = 0.4; // without detections a predicted box stops, before it runs away
const MAX_DETECT_FRACTION = 0.4; // of the time: on a slow machine faces are detected less often
const MAX_DETECT_S = 1;

export class Follower {
  /**
   * @param {object} detector detect(raster) returns faces.
   * @param {object} framing of the detector's boxes.
   * @param {(crops: Uint8Array[]) => Promise<number[][]>} classify crops to probabilities.
   * @param {number} size of a crop, in pixels.
   * @param {boolean} paced true detects less often where detection is slow; false never does.
   */
  constructor(detector, framing, classify, size, paced = true) {
    Object.assign(this, { detector, framing, classify, size, paced });
    this.tracker = new Tracker(LOST_S);
    this.frames = new SamplingInterval(); // of all frames
    this.reads = new SamplingInterval(); // of those that are classified
    this.past = new Map(); // by track number
    this.detected = this.wasRead = -Infinity;
    this.interval = DETECT_S;
  }

  /** The faces of the newest frame, in the form of /v1/live but without labels. */
  async read(image, time) {
    this.frames.add(time);
    const detect = time - this.detected >= this.interval - 1e-3;
    const read = detect || time - this.wasRead >= CLASSIFY_S - 1e-3;
    const spots = detect ? await this.detect(image, time) : this.predict(time);
    const faces = await this.classifySpots(image, time, spots, read);
    const forget = 2 * lostAfter(LOST_S, this.reads.seconds);
    for (const [number, past] of this.past) {
      if (time - past.time > forget) this.past.delete(number);
    }
    return faces;
  }

  async detect(image, time) {
    const started = performance.now();
    const factor = Math.max(1, Math.floor(Math.min(image.width, image.height) / SHORTER_SIDE));
    const small = factor > 1 ? reduce(image, factor, factor) : image;
    const seen = await this.detector.detect(small);
    const found = this.detector.refine ? await this.detector.refine(small, seen) : seen;
    const detections = found.map(({ box, score, landmarks }) => {
      const grown = box.map((v) => v * factor);
      return {
        box: grown, score, landmarks: landmarks.map((point) => point.map((v) => v * factor)),
        crop: cropFace(image, grown, this.framing, this.size),
      };
    });
    this.detected = time;
    const seconds = (performance.now() - started) / 1000;
    if (this.paced) {
      this.interval = Math.min(Math.max(DETECT_S, seconds / MAX_DETECT_FRACTION), MAX_DETECT_S);
    }
    const every = this.paced ? Math.max(this.frames.seconds, this.interval) : this.frames.seconds;
    const tracks = this.tracker.update(detections, time, every);
    tracks.forEach((track) => this.tracker.confirm(track));
    return tracks.filter((t) => t.seen).map((track) =>
      ({ track, box: track.seen.box, detection: track.seen, origin: "detected" }));
  }

  predict(time) {
    const until = Math.min(time, this.detected + MAX_FORESIGHT_S);
    return this.tracker.tracks.filter((t) => t.number && t.seen).map((track) =>
      ({ track, box: track.box(until), detection: track.seen, origin: "predicted" }));
  }

  async classifySpots(image, time, spots, read) {
    spots.sort((a, b) => a.track.number - b.track.number);
    const crops = [], rows = new Map();
    if (read) {
      this.wasRead = time;
      this.reads.add(time);
      for (const spot of spots) {
        const crop = spot.origin === "detected"
          ? spot.detection.crop : cropFace(image, spot.box, this.framing, this.size);
        spot.quality = judge(spot.box, image.width, image.height, crop,
          poseOf(spot.detection), inFront(spot, spots));
        if (spot.quality === "good") rows.set(spot, crops.push(crop) - 1);
      }
    }
    const probabilities = crops.length ? await this.classify(crops) : [];
    return spots.map((spot) => this.face(spot, time, probabilities[rows.get(spot)] ?? null));
  }

  face(spot, time, raw) {
    const { number } = spot.track;
    const past = this.past.get(number) ?? { quality: "good", value: null, readAt: 0 };
    this.past.set(number, past);
    past.time = time;
    if (spot.quality) past.quality = spot.quality;
    if (raw) smooth(past, time, raw, this.reads.seconds);
    const pose = spot.origin === "detected" ? poseOf(spot.detection) : null;
    const [yaw, pitch, roll] = axes.map((axis) => (Number.isFinite(pose?.[axis]) ? pose[axis] : null));
    return {
      track: number, box: spot.box, score: spot.detection.score, quality: past.quality, yaw, pitch, roll, raw,
      probabilities: past.quality === "good" ? past.value : null,
    };
  }
}

/** Yaw, pitch and roll of a detection in degrees, computed once; null without landmarks. */
function poseOf(detection) {
  detection.pose ??= detection.landmarks ? detectedPose(detection.landmarks) : null;
  return detection.pose;
}

/** Exponential smoothing in seconds; `every` is the usual time from one reading to the next. */
function smooth(past, time, raw, every) {
  const gap = time - past.readAt;
  const constant = Math.max(TIME_CONSTANT_S, FADE_INTERVALS * every);
  const known = past.value && gap <= lostAfter(FORGET_S, every);
  const weight = known ? -Math.expm1(-Math.max(gap, 0) / constant) : 1;
  past.value = known ? past.value.map((v, i) => v + weight * (raw[i] - v)) : raw;
  past.readAt = time;
}

/** Boxes of faces that may cover this one: those with at least its detection score. */
function inFront(spot, spots) {
  return spots
    .filter((s) => s !== spot &&
      (spot.origin === "predicted" || s.detection.score >= spot.detection.score))
    .map((s) => s.box);
}

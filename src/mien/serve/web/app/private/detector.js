// The face detector: YuNet in one or more passes, MTCNN's last network as its verifier, with the plan
// of mien.predict.detectors.yunet: the same passes and thresholds give the same faces.

import {
  CERTAIN_BOX, CERTAIN_FROM, CLEAR_HINT, CLOSER_BELOW, CONFIRMED_SCORE, FIRST_SIDE, FRAMING_SCALE,
  FRAMING_SHIFT_X, FRAMING_SHIFT_Y, HIGHEST_VERIFIED, HINT_SCORE, LOOK_PIXELS, LOOK_SIDES,
  MAX_ENLARGED, MAX_HINTS, MAX_LOOKS, MAX_NETWORK_PIXELS, MIN_BOX, MIN_VERIFIED, OVERLAP, SAME_PLACE,
  VERIFICATION, WITHIN,
} from "../constants.js";
import { overlap, suppress } from "./boxes.js";
import { cut, reduce, resize } from "./resample.js";
import { faceScores, withLandmarks } from "./verifier.js";
import { candidates, inside, placed, select } from "./yunet.js";

export const FRAMING = { scale: FRAMING_SCALE, shiftX: FRAMING_SHIFT_X, shiftY: FRAMING_SHIFT_Y };

export class YuNet {
  /**
   * Both networks are functions from (dims, array) to a promise of the outputs by name.
   * @param {Function} network YuNet, on bytes.
   * @param {Function} verifier MTCNN's last network, on 32-bit floats.
   */
  constructor(network, verifier) {
    Object.assign(this, { network, verifier });
  }

  /** Faces from left to right: [{box, score, landmarks: [[x, y] x 5]}]. */
  async detect(image) {
    const { width, height } = image, pixels = width * height;
    const least = Math.ceil(Math.sqrt(pixels / MAX_NETWORK_PIXELS));
    let factor = Math.max(1, least, Math.floor(Math.min(width, height) / FIRST_SIDE));
    let found = await this.pass(image, factor);
    for (let first = true; ; first = false) {
      const closer = closerThan(factor, least, pixels);
      if (closer === factor || !(await this.pays(image, found, factor, first))) break;
      factor = closer;
      found = found.concat(await this.pass(image, factor));
    }
    return this.verified(image, select(found.filter((o) => o.score >= MIN_BOX), width, height));
  }

  /** Faces of `detect` with better landmarks, for the head pose. */
  refine(image, faces) {
    return withLandmarks(this.verifier, image, faces);
  }

  /** The candidates in the image reduced by a factor; 0.5 enlarges it. */
  async pass(image, factor) {
    let seen = image;
    if (factor > 1) seen = reduce(image, factor, factor);
    else if (factor < 1) seen = resize(image, 2 * image.width, 2 * image.height);
    const found = await candidates(this.network, seen, HINT_SCORE);
    return factor === 1 ? found : found.map((one) => placed(one, factor));
  }

  /** Whether a pass with more pixels than at this factor may find more faces. */
  async pays(image, found, factor, first) {
    const certain = found.filter((o) => o.score >= CERTAIN_BOX);
    const small = (o) => side(o.box) < CLOSER_BELOW * factor;
    if (certain.some(small) || (first && factor > 1 && !certain.length)) return true;
    const least = certain.length ? CLEAR_HINT : HINT_SCORE;
    const hints = found.filter((o) => small(o) && o.score >= least &&
      inside(o.box, image.width, image.height) &&
      certain.every((face) => overlap(face.box, o.box, "smaller") < WITHIN))
      .sort((a, b) => b.score - a.score)
      .slice(0, MAX_HINTS);
    const best = suppress(hints.map((o) => o.box), hints.map((o) => o.score), OVERLAP);
    for (const i of best.slice(0, MAX_LOOKS)) {
      if (await this.confirms(image, hints[i].box)) return true;
    }
    return false;
  }

  /** Whether a possible face is one in a look at the part of the image around it. */
  async confirms(image, box) {
    const own = side(box), half = (own * LOOK_SIDES) / 2;
    const x = (box[0] + box[2]) / 2, y = (box[1] + box[3]) / 2;
    const left = Math.floor(x - half), top = Math.floor(y - half), whole = Math.ceil(2 * half);
    const part = cut(image, left, top, left + whole, top + whole);
    const seen = resize(part, LOOK_PIXELS, LOOK_PIXELS);
    const found = await candidates(this.network, seen, CONFIRMED_SCORE);
    const scale = whole / LOOK_PIXELS;
    return found.some(({ box: [x0, y0, x1, y1] }) => {
      const dx = ((x0 + x1) / 2) * scale + left - x, dy = ((y0 + y1) / 2) * scale + top - y;
      return Math.max(Math.abs(dx), Math.abs(dy)) <= SAME_PLACE * own;
    });
  }

  /** Those that are faces, with their final score. */
  async verified(image, found) {
    const doubtful = found.filter((o) => o.score < CERTAIN_BOX);
    const others = await faceScores(this.verifier, image, doubtful);
    const [own, other, intercept] = VERIFICATION;
    const scores = new Map(doubtful.map((one, i) =>
      [one, sigmoid(own * logit(one.score) + other * logit(others[i]) + intercept)]));
    const rise = (1 - CERTAIN_FROM) / (1 - CERTAIN_BOX);
    const final = (one) => (scores.has(one)
      ? Math.min(scores.get(one), HIGHEST_VERIFIED)
      : CERTAIN_FROM + (one.score - CERTAIN_BOX) * rise);
    return found
      .filter((one) => (scores.get(one) ?? 1) >= MIN_VERIFIED)
      .map((one) => ({ ...one, score: final(one) }));
  }
}

/** The factor of the next pass; the same factor after the last one. */
function closerThan(factor, least, pixels) {
  if (factor > least) return Math.max(Math.floor(factor / 2), least);
  return factor === 1 && 4 * pixels <= MAX_ENLARGED ? 0.5 : factor;
}

const side = ([x0, y0, x1, y1]) => Math.max(x1 - x0, y1 - y0);
const sigmoid = (value) => 1 / (1 + Math.exp(-value));

function logit(score) {
  const bounded = Math.min(Math.max(score, 0.003), 0.9995);
  return Math.log(bounded / (1 - bounded));
}

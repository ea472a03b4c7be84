// Constants that Python has too: the page and private mode must compute what the server computes.
// tests/web/test_constants.py compares every one of them with its Python value.

// mien.types, mien.video.quality
export const UNSURE = "unsure";
export const QUALITY_REASONS = ["small", "blurred", "turned", "cut", "covered"];

// mien.video.pace: how long a frame lasts, and how long a track survives without a detection
export const GAP_S = 0.5;
export const GAP_INTERVALS = 2.5;
export const LOST_INTERVALS = 2.5;
export const RECENT_STEPS = 5;
export const NEAR_STEPS = 4;

// mien.video.plan, mien.video.detect: when and on which size the detector runs
export const DETECT_S = 0.2;
export const CLASSIFY_S = 1 / 15;
export const LOST_S = 1;
export const SHORTER_SIDE = 360;

// mien.video.smooth: exponential smoothing
export const TIME_CONSTANT_S = 0.15;
export const FORGET_S = 1;
export const FADE_INTERVALS = 0.5;

// mien.video.track: Kalman filter and assignment costs
export const MEASURE = 0.05;
export const ACCELERATION = [3, 1];
export const REACH = 0.9;
export const REACH_PER_S = 0.8;
export const RESIZE = 0.6;
export const RESIZE_PER_S = 0.3;
export const SIMILAR = 0.5;
export const REACH_SIMILAR_PER_S = 2;
export const APPEARANCE_WEIGHT = 1.2;
export const FORGIVEN_DISTANCE = 0.2;
export const UNSEEN_S = 2;
export const RARE_S = 0.5;
export const CERTAIN_SCORE = 0.97;
export const MIN_TRACK_SCORE = 0.9;

// mien.video.quality: which faces are classified
export const MIN_SIDE = 24;
export const MIN_SHARPNESS = 0.004;
export const MAX_TURN = 0.75;
export const MIN_INSIDE = 0.6;
export const MAX_COVERED = 0.3;
export const NARROW = 0.72;
export const NOSE = 0.7;

// mien.predict.detectors.mtcnn
export const CELL = 12;
export const STRIDE = 2;
export const PYRAMID = 0.709;
export const THRESHOLDS = [0.6, 0.7, 0.8];
export const MAX_CANDIDATES = 256;
export const MIN_FACE = 24;
export const MIN_FACE_FRACTION = 0.06;
export const FRAMING_SCALE = 0.95;
export const FRAMING_SHIFT_X = 0.015;
export const FRAMING_SHIFT_Y = 0;

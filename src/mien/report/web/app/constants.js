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
export const MAX_YAW = 38.5;
export const MIN_INSIDE = 0.6;
export const MAX_COVERED = 0.3;

// mien.imaging.pose: the generic face in millimetres, and its fit to landmarks
export const FACE = [[-31.5, -26.2, -34.7], [31.5, -26.2, -34.7], [0, 11.3, -74.8], [-24.6, 43.4, -42.8], [24.6, 43.4, -42.8]];
export const STEPS = 3;
export const DAMPING = 0.001;
export const YAW_KNOTS = [[0, 60, 90], [0, 66, 90]];
export const PITCH_KNOTS = [[0, 60, 180], [0, 84, 180]];

// mien.predict.detectors
export const DETECTOR = "yunet";

// mien.predict.detectors.yunet: passes over an image, and the scores that decide
export const STRIDES = [8, 16, 32];
export const FIRST_SIDE = 224;
export const MAX_NETWORK_PIXELS = 2088960;
export const MAX_ENLARGED = 1310720;
export const CLOSER_BELOW = 48;
export const HINT_SCORE = 0.05;
export const CLEAR_HINT = 0.15;
export const MAX_HINTS = 256;
export const MAX_LOOKS = 4;
export const LOOK_SIDES = 2;
export const LOOK_PIXELS = 96;
export const SAME_PLACE = 0.35;
export const CONFIRMED_SCORE = 0.3;
export const MIN_BOX = 0.3;
export const CERTAIN_BOX = 0.85;
export const CERTAIN_FROM = 0.97;
export const VERIFICATION = [1.14, 0.71, -0.76];
export const MIN_VERIFIED = 0.6;
export const HIGHEST_VERIFIED = 0.94;
export const WITHIN = 0.5;
export const OVERLAP = 0.3;
export const MAX_CANDIDATES = 4096;
export const FRAMING_SCALE = 0.993;
export const FRAMING_SHIFT_X = 0.001;
export const FRAMING_SHIFT_Y = 0.014;

// mien.predict.detectors.mtcnn: its last network as the verifier
export const VERIFIER_SIDE = 48;
export const VERIFIER_SCALE = 1.58;
export const WIDER = 1.5;
export const TURNED_AGAIN = 0.1;
export const MAX_VERIFIED = 256;

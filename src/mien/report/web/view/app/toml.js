// A piece of study.toml: events, exclusions and corrections, as `mien view` saves them.

/** A TOML string; JSON's escapes are TOML's, too. */
const text = (value) => JSON.stringify(value).replace(/\u007f/g, "\\u007f");
const number = (value) => (Number.isInteger(value) ? `${value}.0` : String(value));

const TABLES = [
  ["event", "events", ["name", "time_s", "video", "person"]],
  ["exclusion", "exclusions", ["start_s", "end_s", "reason", "video", "person"]],
  ["correction", "corrections", ["source", "track", "start_s", "end_s", "label", "by"]],
];

/** Return the text of the file. */
export function inToml(study) {
  const line = (key, value) => `${key} = ${typeof value === "string" ? text(value) : key === "track" ? value : number(value)}`;
  const tables = TABLES.flatMap(([table, list, keys]) => study[list].map((entry) => [
    `[[${table}]]`, ...keys.filter((key) => entry[key] !== null && entry[key] !== undefined).map((key) => line(key, entry[key])),
  ].join("\n")));
  return `${tables.join("\n\n")}\n`;
}

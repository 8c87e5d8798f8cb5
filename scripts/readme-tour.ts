/** Renews the output of the first tour in README.md from a run of the built program. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { readTour, runTour } from '../test/cli/readme-tour.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'sgw-tour-'));
try {
  const steps = runTour(
    folder,
    readTour().map((step) => step.command),
  );
  const block = steps.map(({ command, output }) => `$ ${command}\n${output}\n`).join('\n');
  const readme = readFileSync('README.md', 'utf8');
  writeFileSync(
    'README.md',
    readme.replace(/```console\n[\s\S]*?```/, () => `\`\`\`console\n${block}\`\`\``),
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}

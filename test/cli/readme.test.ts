/** The README's first tour is what the program does. To renew it after a change: `node scripts/readme-tour.ts`. */
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, it } from 'vitest';
import { readTour, runTour, stable } from './readme-tour.ts';

it('the first tour of the README shows what the program prints', { timeout: 120_000 }, () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'sgw-tour-'));
  try {
    const written = readTour();
    expect(written.length).toBeGreaterThanOrEqual(8);
    const ran = runTour(
      folder,
      written.map((step) => step.command),
    );
    expect(ran.map((step) => [step.command, stable(step.output)])).toEqual(
      written.map((step) => [step.command, stable(step.output)]),
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

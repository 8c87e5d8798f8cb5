/** A small count of `npm run soak -- --control`. */
import { mkdtemp, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { expect } from 'vitest';
import { seededRandom } from '../../src/core/kit/index.ts';
import { requireTool } from '../requirements.ts';
import { controlCounts, runControl } from '../soak/control/run.ts';

const SEED = Number(process.env['SGW_SEED'] ?? Math.floor(Math.random() * 0x1_0000_0000));
const FOR_MS = 25_000;

requireTool('nats-server').it(
  `three control servers that are killed answer each request once, or fail by name (seed ${String(SEED)})`,
  async () => {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'sgw-control-'));
    const counts = controlCounts();
    const endMs = performance.now() + FOR_MS;
    try {
      await runControl({
        ...{ folder, counts, random: seededRandom(SEED), servers: 3, gateways: 24, lanes: 4 },
        goesOn: () => performance.now() < endMs,
        onEvent: () => undefined,
      });
      expect(counts.answered).toBeGreaterThan(100);
      expect(counts.kills + counts.drains + counts.natsKills).toBeGreaterThan(0);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
  240_000,
);

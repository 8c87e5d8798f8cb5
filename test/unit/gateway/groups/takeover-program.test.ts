/** The operator's program after a take-over: what it is told, and that its failure is only told. */
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TakeoverProgram } from '../../../../src/core/gateway/groups/takeover-program.ts';
import { systemClock, type Logger } from '../../../../src/core/kit/index.ts';
import { newServingSettings, updateState } from '../../../../src/core/state/index.ts';

const EVENT = { volumeId: 'vol-00000000000000001', exportName: 'db', epoch: 7, holder: 'sgw-01234567' } as const;

let home: string;
let logged: string[];
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'sgw-takeover-'));
  logged = [];
});
afterEach(async () => {
  await rm(home, { recursive: true, force: true });
});

const note = (_details: object, message: string): void => {
  logged.push(message);
};
const log: Logger = { debug: note, info: note, warn: note, error: note };

async function settings(onTakeover?: string): Promise<void> {
  await updateState(
    home,
    (state) => {
      state.gateway = {
        ...{ gatewayId: 'sgw-01234567', name: 'lab', mode: 'cached', accountId: '000000000001', region: 'local' },
        ...{ store: 'store', storeId: 'store-1', encryption: 'none', activatedAt: '2026-01-01T00:00:00.000Z' },
        ...{ configurationVersion: 1, credential: null, activationKey: null, metadata: {} },
        ...{ serving: newServingSettings(), volumeSettings: {}, attachments: [] },
        ...(onTakeover === undefined ? {} : { onTakeover }),
      };
    },
    { lockTimeoutMs: 1000 },
  );
}

async function program(text: string, name = "move it's.sh"): Promise<string> {
  const path = join(home, name);
  await writeFile(path, `#!/bin/sh\n${text}\n`);
  await chmod(path, 0o755);
  return path;
}
const run = async (program_: TakeoverProgram, signal = new AbortController().signal): Promise<void> =>
  program_.run(EVENT, { log, signal });

describe('the program for take-overs', () => {
  it('is told the volume, its export, the epoch and the holder, and nothing of this process', async () => {
    process.env['SGW_SECRET_ACCESS_KEY'] = 'quince';
    try {
      await settings(await program(`env > '${home}/seen'`));
      const programs = new TakeoverProgram({ home, clock: systemClock });
      await run(programs);
      const seen = (await readFile(join(home, 'seen'), 'utf8')).split('\n');
      expect(seen).toEqual(
        expect.arrayContaining([
          ...['SGW_VOLUME=vol-00000000000000001', 'SGW_EXPORT=db', 'SGW_EPOCH=7', 'SGW_HOLDER=sgw-01234567'],
        ]),
      );
      expect(seen.join('\n')).not.toContain('quince');
      expect(programs.lastFailure).toBeUndefined();
      expect(logged).toEqual(['the program for take-overs was run']);
    } finally {
      delete process.env['SGW_SECRET_ACCESS_KEY'];
    }
  });

  it('is none where the settings name none', async () => {
    await settings();
    const programs = new TakeoverProgram({ home, clock: systemClock });
    await run(programs);
    expect(programs.lastFailure).toBeUndefined();
    expect(logged).toEqual([]);
  });

  it('that fails is told of, until it has succeeded', async () => {
    await settings(await program('echo no such address >&2; exit 3', 'a'));
    const programs = new TakeoverProgram({ home, clock: systemClock });
    await run(programs);
    expect(programs.lastFailure).toMatchObject({
      ...{ exportName: 'db', message: 'it ended with code 3, and said: no such address' },
    });
    expect(logged).toEqual(['the program for take-overs failed: it ended with code 3, and said: no such address']);
    await settings(await program('exit 0', 'b'));
    await run(programs);
    expect(programs.lastFailure).toBeUndefined();
  });

  it('that is gone, or was stopped, fails like one that ran', async () => {
    await settings(join(home, 'nothing'));
    const programs = new TakeoverProgram({ home, clock: systemClock });
    await run(programs);
    expect(programs.lastFailure?.message).toMatch(/^it ended with code 127/);
    await settings(await program('sleep 60', 'slow'));
    const stop = new AbortController();
    setTimeout(() => {
      stop.abort();
    }, 50);
    await run(programs, stop.signal);
    expect(programs.lastFailure?.message).toBe('stopped on request');
  });
});

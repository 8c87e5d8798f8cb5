/** Real NBD clients against a volume that a gateway serves: the built program, its daemon, its log, cache and store. */
import { afterAll, beforeAll, describe, it } from 'vitest';
import { HomeRig } from '../cli/gateway-rig.ts';
import { requireThat, toolPath } from '../requirements.ts';
import { CLIENT_CHECKS, inFolder, type NbdTarget } from './nbd-checks.ts';

const SIZE = 64 << 20;

const missing = [...new Set(CLIENT_CHECKS.flatMap(({ tools }) => tools))].filter(
  (tool) => toolPath(tool) === undefined,
);

requireThat(missing.length === 0, `${missing.join(', ')} not installed`).describe('NBD clients of a gateway', () => {
  let rig: HomeRig;
  let target: NbdTarget;
  beforeAll(async () => {
    rig = await HomeRig.activated();
    await rig.ok('gateway', 'start');
    await rig.ok('volume', 'create', 'disk', '--size', String(SIZE));
    const { uris } = (await rig.ok('volume', 'attach', 'disk')) as { uris: string[] };
    target = { uri: uris[0] ?? '', sizeBytes: SIZE };
  }, 120_000);
  afterAll(async () => {
    await rig[Symbol.asyncDispose]();
  });

  describe('a cached volume', () => {
    for (const check of CLIENT_CHECKS)
      it(check.name, async () => inFolder(async (folder) => check.run(target, folder)), 300_000);
  });
});

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openInProcess } from '../../src/core/daemon/index.ts';
import type { CallContext } from '../../src/core/localapi/index.ts';

const CALL: CallContext = {
  signal: new AbortController().signal,
  onProgress: () => undefined,
  lockTimeoutMs: 1000,
};

test('a home serves the account that it was activated for, and refuses any other', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sgw-account-'));
  try {
    const home = join(folder, 'home');
    await using own = await openInProcess({ home, accountId: '111111111111' });
    await own.call('activate', { name: 'lab', mode: 'cached' }, CALL);
    await own.call('volume.create', { name: 'v', sizeBytes: 4096 }, CALL);
    await using other = await openInProcess({ home, accountId: '222222222222' });
    const refused = { kind: 'unsupported', code: 'other-account' };
    await expect(other.call('volume.list', {}, CALL)).rejects.toMatchObject(refused);
    await expect(other.call('status', {}, CALL)).rejects.toMatchObject(refused);
    await expect(
      other.call('activate', { name: 'lab', mode: 'cached', ifNotExists: true }, CALL),
    ).rejects.toMatchObject(refused);
    await using anyone = await openInProcess({ home });
    expect((await anyone.call('volume.list', {}, CALL)).volumes).toMatchObject([{ accountId: '111111111111' }]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

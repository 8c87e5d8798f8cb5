/** `activate` at a service, as whoever is at the device sees it. */
import { expect, it } from 'vitest';
import { ACTIVATION_KEY } from './fake-activation.ts';
import { ACCOUNT } from './fake-care.ts';
import { runVerb, type RunOptions } from './run-verb.ts';

const AT = ['--service', 'https://sgw.example:8443', '--progress', 'none'];
const run = async (words: readonly string[], options: RunOptions = {}): ReturnType<typeof runVerb> =>
  runVerb('activate', words, { activated: false, ...options });
const namesOf = ({ calls }: Awaited<ReturnType<typeof runVerb>>): string[] => calls.map(({ name }) => name);

it('shows the key on standard error, waits, and prints the gateway alone on standard output', async () => {
  for (const words of [['--json'], ['--json', '--quiet'], []]) {
    const outcome = await run([...AT, ...words]);
    expect(outcome.exitCode).toBe(0);
    expect(outcome.stderr).toContain(`activation key:`);
    for (const part of [ACTIVATION_KEY, 'ab'.repeat(32), '/activate?activationKey=', 'sgw service activate'])
      expect(outcome.stderr).toContain(part);
    expect(namesOf(outcome)).toEqual(['activation.begin', 'activation.await', 'activation.finish']);
    expect(outcome.calls[1]?.input).toEqual({ page: '127.0.0.1:8480' });
    expect(outcome.calls[2]?.input).toEqual({ accountId: ACCOUNT });
    if (words.length > 0) expect(outcome.document()).toMatchObject({ gatewayId: 'sgw-01234567', name: 'named' });
    else expect(outcome.stdout).toContain('sgw-01234567');
  }
});

it('only gets the key with --no-wait', async () => {
  const outcome = await run([...AT, '--no-wait', '--json']);
  expect(namesOf(outcome)).toEqual(['activation.begin']);
  expect(outcome.document()).toMatchObject({ state: 'shown', activationKey: ACTIVATION_KEY });
});

it('goes on for the account that was named, and gives up for any other', async () => {
  expect((await run([...AT, '--account', ACCOUNT])).exitCode).toBe(0);
  const other = await run([...AT, '--account', '999999999999', '--json']);
  expect(other.exitCode).toBe(8);
  expect(other.document()).toMatchObject({ error: { code: 'claimed-by-other', details: { accountId: ACCOUNT } } });
  expect(namesOf(other)).toEqual(['activation.begin', 'activation.await', 'activation.withdraw']);
});

it('shows the page where it was told to, elsewhere when nobody said where, or not at all', async () => {
  const pages = ({ calls }: Awaited<ReturnType<typeof runVerb>>): unknown[] =>
    calls.filter(({ name }) => name === 'activation.await').map(({ input }) => (input as { page: unknown }).page);
  expect(pages(await run([...AT, '--page', '0.0.0.0:80']))).toEqual(['0.0.0.0:80']);
  expect(pages(await run([...AT, '--page', 'off']))).toEqual([null]);
  expect(pages(await run(AT, { trouble: 'page-used' }))).toEqual(['127.0.0.1:8480', '127.0.0.1:0']);
  const told = await run([...AT, '--page', '127.0.0.1:8480', '--json'], { trouble: 'page-used' });
  expect(told.document()).toMatchObject({ error: { code: 'page-address-used' } });
});

it('shows another key when one expired, and gives up after three', async () => {
  const outcome = await run([...AT, '--json'], { trouble: 'expired' });
  expect(outcome.exitCode).toBe(9);
  expect(outcome.document()).toMatchObject({ error: { code: 'activation-unclaimed' } });
  expect(namesOf(outcome).filter((name) => name === 'activation.begin')).toHaveLength(3);
});

it('goes on with what was stopped, also when no service is named', async () => {
  const outcome = await run(['--progress', 'none', '--json'], { stopped: true });
  expect(outcome.exitCode).toBe(0);
  expect(namesOf(outcome)).toEqual(['activate', 'activation.begin', 'activation.await', 'activation.finish']);
  expect(outcome.calls[1]?.input).not.toHaveProperty('service');
  const elsewhere = await run(['--store', '/srv/store', '--json'], { stopped: true });
  expect(namesOf(elsewhere)).toEqual(['activate']);
});

it('reads the certificate that is to be believed, before anything is asked', async () => {
  const missing = await run([...AT, '--service-ca', '/nonexistent-sgw/ca.pem', '--json']);
  expect(missing.document()).toMatchObject({ error: { code: 'system-enoent' } });
  expect(missing.calls).toEqual([]);
  const named = await run([...AT, '--service-fingerprint', 'sha256:ab', '--no-wait', '--json']);
  expect(named.calls[0]?.input).toMatchObject({
    service: { url: 'https://sgw.example:8443', fingerprint: 'sha256:ab' },
  });
});

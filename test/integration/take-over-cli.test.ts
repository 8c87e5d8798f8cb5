/** Two gateways over one store, as commands see them: the one that was fenced keeps what it acknowledged, and it is had again. */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { HomeRig } from '../cli/gateway-rig.ts';
import { NbdClient } from '../soak/served/nbd-client.ts';
import { PAGE, stamped, stampOf } from '../soak/served/stamps.ts';

const PAGES = 2048;

interface Doctor {
  readonly checks: readonly {
    readonly name: string;
    readonly state: string;
    readonly message: string;
    readonly hint: string | null;
  }[];
}

async function connect(rig: HomeRig, exportName: string): Promise<NbdClient> {
  return await NbdClient.connect(join(rig.home, 'nbd.sock'), exportName);
}

it('C6 `volume attach --take-over` fences the first gateway, `doctor` names its log and the command, and that makes a volume of exactly what was acknowledged', async () => {
  await using first = await HomeRig.activated('home');
  await using second = await HomeRig.activated('home', '--store', join(first.home, 'store'));
  await first.ok('volume', 'create', 'disk', '--size', String(PAGES * PAGE));
  await first.ok('volume', 'configure', 'disk', '--seal-interval', '2s', '--buffer', '64MiB');
  await first.ok('gateway', 'start');
  await first.ok('volume', 'attach', 'disk');
  const client = await connect(first, 'disk');
  const expected = new Array<number>(PAGES).fill(0);
  let number = 0;
  const write = async (page: number): Promise<void> => {
    number += 1;
    await client.write(page * PAGE, stamped(page, 1, number));
    expected[page] = number;
  };
  for (let i = 0; i < 300; i++) await write((i * 37) % PAGES);
  await client.flush();
  await first.ok('snapshot', 'create', 'disk', '--name', 'half', '--wait');

  await second.ok('gateway', 'start');
  expect(await second.failure('volume', 'attach', 'disk')).toMatchObject({ code: 'volume-held', exitCode: 4 });
  // Nothing of these is in the store when the volume is taken over.
  await first.ok('volume', 'configure', 'disk', '--seal-interval', '1h');
  for (let i = 0; i < 200; i++) await write((i * 53) % PAGES);
  await second.ok('volume', 'attach', 'disk', '--take-over');
  const other = await connect(second, 'disk');
  await other.write(5 * PAGE, stamped(5, 1, 100_000));
  await other.flush();
  // Until the first one asks the store, it can't know; from then on it acknowledges nothing.
  await first.ok('volume', 'configure', 'disk', '--seal-interval', '1s');
  await expect(
    (async () => {
      for (let i = 0; ; i++) await write(i % PAGES);
    })(),
  ).rejects.toThrow(/error/);
  await expect(client.write(0, stamped(0, 1, 200_000))).rejects.toThrow(/error/);
  client.close();

  const doctor = await first.run(['doctor', '--json']);
  expect(doctor.exitCode).toBe(4);
  const { checks } = JSON.parse(doctor.stdout) as Doctor;
  const told = checks.find(({ name }) => name.startsWith('log of'));
  expect(told?.message).toContain(join(first.home, 'volumes'));
  expect(told?.hint).toContain('sgw doctor --recover-log disk --into NAME');

  const recovered = await first.ok('doctor', '--recover-log', 'disk', '--into', 'saved');
  expect(recovered).toMatchObject({ name: 'saved', fromName: 'disk', damage: null });
  await first.ok('volume', 'attach', 'saved', '--read-only');
  const saved = await connect(first, 'saved');
  const found: number[] = [];
  for (let page = 0; page < PAGES; page += 64) {
    const bytes = await saved.read(page * PAGE, 64 * PAGE);
    for (let i = 0; i < 64; i++) found.push(stampOf(page + i, bytes.subarray(i * PAGE, (i + 1) * PAGE)));
  }
  saved.close();
  expect(found).toEqual(expected);
  expect(stampOf(5, await other.read(5 * PAGE, PAGE))).toBe(100_000);
  other.close();
  await first.ok('gateway', 'stop');
  await second.ok('gateway', 'stop');
}, 240_000);

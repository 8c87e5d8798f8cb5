/** Changing how a gateway serves: listeners, TLS, cache and buffers. Checked before it is kept, applied at once where a daemon runs. */
import { readFile } from 'node:fs/promises';
import { formatSize, SgwError, toSgwError } from '../../kit/index.ts';
import type { ServingConfiguration, ServingWishes } from '../../localapi/index.ts';
import { tlsSetup } from '../../nbd/index.ts';
import { freeBytes } from '../../objectstore/index.ts';
import type { ServingSettings } from '../../state/index.ts';

const NAMES = [
  'tls',
  'tlsCertificate',
  'tlsKey',
  'tlsCa',
  'tlsPsk',
  'listExports',
  'defaultExport',
  'cacheBytes',
  'cacheRamBytes',
  'bufferBytes',
  'sealIntervalMs',
  'readAheadBytes',
] as const satisfies readonly (keyof ServingSettings & keyof ServingWishes)[];

/** The settings with what is asked for. `listen` is `default`, `unix:PATH`, or `tcp:HOST:PORT`, as often as wanted. */
export function withWishes(now: ServingSettings, wishes: ServingWishes): ServingSettings {
  const next = { ...now };
  for (const name of NAMES) if (wishes[name] !== undefined) Object.assign(next, { [name]: wishes[name] });
  const { listen } = wishes;
  if (listen === undefined) return next;
  const after = (prefix: string): string[] =>
    listen.flatMap((place) => (place.startsWith(prefix) ? [place.slice(prefix.length)] : []));
  return { ...next, unixSocket: after('unix:')[0] ?? null, tcp: [...new Set(after('tcp:'))] };
}

/** Names of the settings that differ. */
export function changedSettings(before: ServingSettings, after: ServingSettings): string[] {
  const names = NAMES.filter((name) => before[name] !== after[name]);
  const places = ({ unixSocket, tcp }: ServingSettings): string => JSON.stringify([unixSocket, tcp]);
  return [...(places(before) === places(after) ? [] : ['listen']), ...names];
}

/** As the local API tells it. */
export const servingConfiguration = ({ unixSocket, tcp, ...rest }: ServingSettings): ServingConfiguration => ({
  listen: [...(unixSocket === null ? [] : [`unix:${unixSocket}`]), ...tcp.map((place) => `tcp:${place}`)],
  ...rest,
});

/**
 * Refuses what could not be served.
 * @throws invalid `bad-tls`; exhausted `no-room` when cache or buffer would be larger than what is free
 */
export async function requirePossible(home: string, before: ServingSettings, after: ServingSettings): Promise<void> {
  await requireTls(after);
  const free = await freeBytes(home);
  for (const [name, flag] of [
    ['cacheBytes', '--cache'],
    ['bufferBytes', '--buffer'],
  ] as const) {
    const wanted = after[name];
    if (wanted === null || wanted === before[name] || wanted <= free + (before[name] ?? 0)) continue;
    throw new SgwError(
      'exhausted',
      'no-room',
      `${flag} ${formatSize(wanted)} is more than the ${formatSize(free)} that are free in ${home}`,
      {
        hint: 'Give less, or free some space.',
        details: { setting: name, wantedBytes: wanted, freeBytes: free },
      },
    );
  }
}

async function requireTls({ tls, tlsCertificate, tlsKey, tlsCa, tlsPsk }: ServingSettings): Promise<void> {
  if (tls === 'off') return;
  const read = async (path: string | null): Promise<Buffer | undefined> => {
    if (path === null) return undefined;
    return await readFile(path).catch((error: unknown) => {
      throw toSgwError(error);
    });
  };
  const [certificate, key, clientCa, psk] = await Promise.all([tlsCertificate, tlsKey, tlsCa, tlsPsk].map(read));
  tlsSetup({
    ...(certificate === undefined ? {} : { certificate }),
    ...(key === undefined ? {} : { key }),
    ...(clientCa === undefined ? {} : { clientCa }),
    ...(psk === undefined ? {} : { psk: psk.toString('utf8') }),
  });
}

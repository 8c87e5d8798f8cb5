/** Changing how a gateway serves: listeners, portals, TLS, cache and buffers. Checked before it is kept, applied at once where a daemon runs. */
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
  'iscsiDiscoveryUser',
  'cacheBytes',
  'cacheRamBytes',
  'bufferBytes',
  'sealIntervalMs',
  'readAheadBytes',
] as const satisfies readonly (keyof ServingSettings & keyof ServingWishes)[];

/**
 * The settings with what is asked for. `listen` is `default`, `unix:PATH`, or `tcp:HOST:PORT`, as often as wanted; `iscsiListen`
 * `default` or `tcp:HOST:PORT`, `iscsiPortals` `default` or `HOST:PORT`.
 */
export function withWishes(now: ServingSettings, wishes: ServingWishes): ServingSettings {
  const next = { ...now };
  for (const name of NAMES) if (wishes[name] !== undefined) Object.assign(next, { [name]: wishes[name] });
  const { listen, iscsiListen, iscsiPortals } = wishes;
  if (listen !== undefined) {
    next.unixSocket = placesOf(listen, 'unix:')[0] ?? null;
    next.tcp = placesOf(listen, 'tcp:');
  }
  if (iscsiListen !== undefined) next.iscsiListen = placesOf(iscsiListen, 'tcp:');
  if (iscsiPortals !== undefined)
    next.iscsiPortals = [...new Set(iscsiPortals)].filter((portal) => portal !== 'default');
  return next;
}

const placesOf = (places: readonly string[], prefix: string): string[] => [
  ...new Set(places.flatMap((place) => (place.startsWith(prefix) ? [place.slice(prefix.length)] : []))),
];

/** Names of the settings that differ. */
export function changedSettings(before: ServingSettings, after: ServingSettings): string[] {
  const names = NAMES.filter((name) => before[name] !== after[name]);
  const differ = (of: (settings: ServingSettings) => unknown): boolean =>
    JSON.stringify(of(before)) !== JSON.stringify(of(after));
  return [
    ...(differ(({ unixSocket, tcp }) => [unixSocket, tcp]) ? ['listen'] : []),
    ...(['iscsiListen', 'iscsiPortals'] as const).filter((name) => differ((settings) => settings[name])),
    ...names,
  ];
}

/** As the local API tells it. */
export const servingConfiguration = ({
  unixSocket,
  tcp,
  iscsiListen,
  iscsiPortals,
  ...rest
}: ServingSettings): ServingConfiguration => ({
  listen: [...(unixSocket === null ? [] : [`unix:${unixSocket}`]), ...tcp.map((place) => `tcp:${place}`)],
  iscsiListen: iscsiListen.map((place) => `tcp:${place}`),
  iscsiPortals: [...iscsiPortals],
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

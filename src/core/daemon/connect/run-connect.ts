/**
 * Serves a volume that is elsewhere at a place of this machine, and follows it there.
 *
 * Order of the start: the first holder, the listeners, then it tells that it is ready. Order of the end: no more clients, what
 * they asked for is answered, flush, leave. A death at any point is that of an NBD server to the client above; what was
 * acknowledged is with the holder.
 */
import { lstat } from 'node:fs/promises';
import { connect } from 'node:net';
import {
  FollowingDevice,
  givenHolders,
  groupHolders,
  nameOf,
  parsePlace,
  type FollowEvent,
  type GroupSight,
  type HolderFinder,
} from '../../follow/index.ts';
import { SgwError, systemClock, systemRandom, toSgwError, untilAborted } from '../../kit/index.ts';
import { NbdServer, type ExportDirectory } from '../../nbd/index.ts';
import type { ListenAddress } from '../../sockets/index.ts';
import { readClientTls, type ClientTlsFiles } from './client-tls.ts';

export interface ConnectOptions {
  /** `unix:PATH`, `tcp:HOST:PORT`. */
  readonly listen: readonly string[];
  readonly exportName: string;
  /** Where the holder may be; empty: `look` says. */
  readonly from: readonly string[];
  /** What the home knows now. */
  readonly look: () => Promise<GroupSight>;
  readonly isReadOnly: boolean;
  readonly tls: ClientTlsFiles | null;
  readonly silenceMs: number;
  /** Null: for ever. */
  readonly giveUpMs: number | null;
  /** Ends it, in order. */
  readonly signal: AbortSignal;
  readonly tell: (document: ConnectDocument) => void;
}

/** What happens, one document after the other; null where a field says nothing of it. */
export interface ConnectDocument {
  readonly event: 'ready' | FollowEvent['kind'] | 'closed';
  readonly time: string;
  readonly exportName: string;
  /** Where clients of this machine connect; of `ready`. */
  readonly listen: string[] | null;
  readonly uris: string[] | null;
  /** Where the holder is, or was. */
  readonly address: string | null;
  readonly epoch: number | null;
  readonly sizeBytes: number | null;
  readonly afterMs: number | null;
  readonly waiting: number | null;
  readonly repeated: number | null;
  readonly reason: string | null;
  readonly code: string | null;
}

const CLOSE_MS = 5000;

/**
 * Serves until the signal fires.
 * @throws invalid `bad-place`, `bad-tls`; unavailable `address-in-use`; timeout `no-holder`; the signal's reason before it is ready
 */
export async function runConnect(options: ConnectOptions): Promise<void> {
  const { exportName, isReadOnly, silenceMs, giveUpMs, signal } = options;
  const places = options.listen.map(parsePlace);
  for (const place of places) await refuseTaken(place);
  const finder = await finderOf(options);
  const tell = teller(options);
  const device = await FollowingDevice.open(
    {
      ...{ finder, isReadOnly, silenceMs },
      ...(giveUpMs === null ? {} : { giveUpMs }),
      clock: systemClock,
      random: systemRandom,
      onEvent: (event) => {
        tell(fieldsOf(event));
      },
    },
    signal,
  );
  const server = new NbdServer({ directory: directoryOf(device, exportName), clock: systemClock });
  try {
    const addresses: ListenAddress[] = [];
    for (const place of places) addresses.push(await listenAt(server, place));
    const holder = device.holder === undefined ? null : nameOf(device.holder);
    tell({
      event: 'ready',
      listen: addresses.map(nameOf),
      uris: addresses.map((address) => uriOf(address, exportName)),
      sizeBytes: device.sizeBytes,
      address: holder,
    });
    await untilAborted(new Promise<never>(() => undefined), signal).catch(() => undefined);
  } finally {
    await server.close({ deadlineMs: CLOSE_MS });
    await device.close();
  }
  tell({ event: 'closed' });
}

async function finderOf({ from, exportName, look, tls }: ConnectOptions): Promise<HolderFinder> {
  const setup = tls === null ? undefined : await readClientTls(tls);
  if (from.length === 0) return groupHolders(look, setup);
  const addresses = from.map(parsePlace);
  return givenHolders({ addresses, exportName, ...(setup === undefined ? {} : { tls: setup }) });
}

/** The one export, also as the default. */
function directoryOf(device: FollowingDevice, name: string): ExportDirectory {
  const description = `${name}, wherever it is held`;
  return {
    isListed: true,
    list: async () => Promise.resolve([{ name, description }]),
    open: async (asked) => {
      if (asked !== '' && asked !== name)
        throw new SgwError('notFound', 'export-not-found', `there is no export "${asked}"`, {
          details: { name: asked },
        });
      return Promise.resolve({
        device,
        name,
        description,
        isReadOnly: device.isReadOnly,
        // All connections go to the holder by one.
        isMultiConn: true,
        contexts: [],
        release: async () => Promise.resolve(),
      });
    },
  };
}

/** A socket of a process that has ended is replaced; nothing else is. */
async function refuseTaken(place: ListenAddress): Promise<void> {
  if (place.kind !== 'unix') return;
  const found = await lstat(place.path).catch(() => undefined);
  if (found === undefined) return;
  const isServed =
    found.isSocket() &&
    (await new Promise<boolean>((resolve) => {
      const socket = connect(place.path);
      socket.once('error', () => {
        resolve(false);
      });
      socket.once('connect', () => {
        socket.destroy();
        resolve(true);
      });
    }));
  if (found.isSocket() && !isServed) return;
  throw new SgwError('unavailable', 'address-in-use', `${place.path} is in use by another program, or no socket`, {
    hint: 'Stop that one, or choose another place with --listen.',
    details: { address: place.path },
  });
}

async function listenAt(server: NbdServer, place: ListenAddress): Promise<ListenAddress> {
  try {
    return await server.listen(place);
  } catch (error) {
    const { kind, code, message, details } = toSgwError(error);
    throw new SgwError(kind, code, message, { hint: 'Choose another place with --listen.', details, cause: error });
  }
}

function uriOf(address: ListenAddress, exportName: string): string {
  const name = encodeURIComponent(exportName);
  if (address.kind === 'tcp') return `nbd://${nameOf(address)}/${name}`;
  return `nbd+unix:///${name}?socket=${encodeURI(address.path).replaceAll(/[?#&]/g, encodeURIComponent)}`;
}

type Fields = Partial<ConnectDocument> & Pick<ConnectDocument, 'event'>;

function teller({ exportName, tell }: ConnectOptions): (fields: Fields) => void {
  return ({ event, ...fields }) => {
    tell({
      event,
      time: new Date(systemClock.nowMs()).toISOString(),
      exportName,
      ...{ listen: null, uris: null, address: null, epoch: null, sizeBytes: null, afterMs: null },
      ...{ waiting: null, repeated: null, reason: null, code: null },
      ...fields,
    });
  };
}

function fieldsOf(event: FollowEvent): Fields {
  const { kind } = event;
  switch (kind) {
    case 'found': {
      const { address, afterMs, repeated, epoch = null, sizeBytes } = event;
      return { event: kind, address: nameOf(address), afterMs: rounded(afterMs), repeated, epoch, sizeBytes };
    }
    case 'lost': {
      const { address, reason, waiting } = event;
      return { event: kind, address: nameOf(address), waiting, reason: reason.message, code: reason.code };
    }
    case 'silent':
      return { event: kind, address: nameOf(event.address), afterMs: rounded(event.silentMs), waiting: event.waiting };
    case 'resumed':
      return { event: kind, address: nameOf(event.address), afterMs: rounded(event.afterMs) };
    case 'looking':
      return { event: kind, afterMs: rounded(event.forMs), reason: event.reason.message, code: event.reason.code };
    case 'resized':
      return { event: kind, sizeBytes: event.toBytes };
  }
}

const rounded = (ms: number | null): number | null => (ms === null ? null : Math.round(ms));

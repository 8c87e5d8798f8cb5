/** How the holder is found: from a list that was given, or from what a home knows of its group. */
import { SgwError, untilAborted } from '../kit/index.ts';
import type { ClientTls } from '../nbd/client/index.ts';
import type { ListenAddress } from '../sockets/index.ts';
import type { FoundHolder, HolderFinder } from './contract.ts';
import { nameOf } from './holder-rules.ts';
import { parsePlace } from './places.ts';

/** The same places each time: who serves the export is found by trying. */
export const givenHolders = (found: FoundHolder): HolderFinder => ({ find: async () => Promise.resolve(found) });

/** What a home knows of a volume now. */
export interface GroupSight {
  readonly exportName: string;
  /** Who holds it, by `head.json`; null when nobody does. */
  readonly holder: string | null;
  /** Where the home's own gateway serves it, `HOST:PORT` or `unix:PATH`; empty while it does not. */
  readonly own: readonly string[];
  /** The group that looks after it: where each member serves what it holds (`MemberAddress.nbd`). */
  readonly members: readonly { readonly gatewayId: string; readonly nbd: readonly string[] }[];
}

/**
 * The members of the volume's group, the holder first, and the home's own gateway. What was known last is used while nothing newer can
 * be had, since that is just when a holder is looked for. `look` is asked once at a time, and left to itself when it takes long.
 */
export function groupHolders(look: () => Promise<GroupSight>, tls?: ClientTls): HolderFinder {
  let last: FoundHolder | undefined;
  let looking: Promise<GroupSight> | undefined;
  return {
    find: async (signal) => {
      looking ??= look().finally(() => {
        looking = undefined;
      });
      try {
        const found = holdersOf(await untilAborted(looking, signal));
        last = tls === undefined ? found : { ...found, tls };
      } catch (error) {
        if (last === undefined) throw error;
      }
      return last;
    },
  };
}

/** @throws unavailable `not-served` when there is no place to try */
function holdersOf({ exportName, own, holder, members }: GroupSight): FoundHolder {
  const holderFirst = members.toSorted((a, b) => Number(b.gatewayId === holder) - Number(a.gatewayId === holder));
  const addresses = new Map<string, ListenAddress>();
  for (const place of [...holderFirst.flatMap(({ nbd }) => nbd), ...own]) {
    const address = parsePlace(place);
    addresses.set(nameOf(address), address);
  }
  if (addresses.size === 0) throw notServed(exportName, holder);
  return { addresses: [...addresses.values()], exportName };
}

function notServed(exportName: string, holder: string | null): SgwError {
  const who = holder === null ? 'no gateway holds it' : `gateway ${holder} holds it, and tells no place`;
  return new SgwError('unavailable', 'not-served', `nothing is known that serves ${exportName}: ${who}`, {
    hint: 'Attach it, or name the places of its gateways with --from.',
    details: { exportName, holder },
  });
}

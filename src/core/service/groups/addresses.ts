/** Where a member says that it is reached. */
import type { MemberAddress } from '../../protocol/index.ts';
import { badWish } from './refusals.ts';

const HOST_PORT = /^(?:\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?):(\d{1,5})$/;
const PORT_MAX = 65_535;
const EXPORTS_MAX = 32;
const PATH_LENGTH_MAX = 256;

/** The address with nothing else in it. @throws invalid `bad-group` */
export function checkAddress(address: MemberAddress | null): MemberAddress | null {
  if (address === null) return null;
  const { peer, nbd } = address as { readonly peer: unknown; readonly nbd: unknown };
  if (!isHostPort(peer)) throw badWish('a member is not reached at what it gave', 'Give HOST:PORT.');
  const places: unknown[] = Array.isArray(nbd) ? nbd : [null];
  const areGood = places.length <= EXPORTS_MAX && places.every((place) => isUnix(place) || isHostPort(place));
  if (!areGood) throw badWish('the places of exports are none', 'Give HOST:PORT or unix:PATH for each.');
  return { peer, nbd: places as string[] };
}

function isHostPort(text: unknown): text is string {
  const [, port = '0'] = typeof text === 'string' ? (HOST_PORT.exec(text) ?? []) : [];
  return Number(port) >= 1 && Number(port) <= PORT_MAX;
}

const isUnix = (text: unknown): boolean =>
  typeof text === 'string' && text.length <= PATH_LENGTH_MAX && /^unix:\/[^\p{Cc}]*$/u.test(text);

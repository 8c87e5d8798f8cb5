/** Which of a gateway's addresses a target is reached at. Portals are of the gateway: each of them has all of its targets. */
import type { GatewayDocument } from '../../../localapi/index.ts';
import { callGateway, type Caller } from './caller.ts';
import { RequestRefused } from './errors.ts';

const ISCSI_PORT = 3260;
const LOOPBACK = '127.0.0.1';
const DEFAULT_LISTEN = `tcp:${LOOPBACK}:${String(ISCSI_PORT)}`;

/**
 * Has the gateway listen at the address, unless it does.
 * @throws RequestRefused `InvalidParameters` when it has no such address
 */
export async function requirePortal(
  caller: Caller,
  { gatewayId, networkInterfaces }: GatewayDocument,
  address: string,
): Promise<void> {
  const isThere = networkInterfaces.some(({ ipv4Address }) => ipv4Address === address) || address === LOOPBACK;
  if (!isThere)
    throw new RequestRefused('InvalidParameters', `the gateway has no network interface with address ${address}`);
  const { serving } = await callGateway(caller, gatewayId, 'configure', {});
  const listen = serving.iscsiListen.length === 0 ? [DEFAULT_LISTEN] : serving.iscsiListen;
  if (listen.some((place) => reaches(place, address))) return;
  const more = [...listen, `tcp:${address}:${String(ISCSI_PORT)}`];
  await callGateway(caller, gatewayId, 'configure', { iscsiListen: more });
}

function reaches(place: string, address: string): boolean {
  const host = place.replace(/^tcp:/, '').replace(/:\d+$/, '');
  return host === address || host === '0.0.0.0' || host === '[::]' || (host === 'localhost' && address === LOOPBACK);
}

/** The portal at an address, or else the first. */
export function portalAt(
  portals: readonly string[],
  address: string | undefined,
): { readonly address: string; readonly port: number } {
  const split = portals.map((portal) => {
    const at = portal.lastIndexOf(':');
    return { address: portal.slice(0, at), port: Number(portal.slice(at + 1)) };
  });
  const found = split.find((portal) => portal.address === address) ?? split[0];
  return found ?? { address: address ?? LOOPBACK, port: ISCSI_PORT };
}

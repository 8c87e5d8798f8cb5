/** Portals for iSCSI: where they are by default, what initiators are told of, and who may reach them. */
import { networkInterfaces } from 'node:os';
import type { AttachmentDocument } from '../../localapi/index.ts';
import type { ServingSettings } from '../../state/index.ts';
import type { WaitingListener } from './served.ts';

/** Of the one logical unit that a target has. */
export const LUN = 0;
/** RFC 7143, 4.2.7.1: the port of iSCSI; for programs of this machine alone. */
const DEFAULT_PORTALS = ['127.0.0.1:3260'] as const;
const WILDCARD = /^(?:0\.0\.0\.0|\[::\]):(\d+)$/;
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\]):\d+$/i;

/** Where to listen: by default only while something is served over iSCSI. */
export function listenedPortals({ iscsiListen }: ServingSettings, isUsed: boolean): readonly string[] {
  if (iscsiListen.length > 0) return iscsiListen;
  return isUsed ? DEFAULT_PORTALS : [];
}

/** What the settings say that initiators may come to. */
export const portalsOf = (settings: ServingSettings): readonly string[] =>
  settings.iscsiPortals.length > 0 ? settings.iscsiPortals : listenedPortals(settings, true);

/** The same with the machine's own addresses in place of wildcards. */
export const reachablePortals = (portals: readonly string[]): string[] => [...new Set(portals.flatMap(reachable))];

function reachable(portal: string): string[] {
  const port = WILDCARD.exec(portal)?.[1];
  if (port === undefined) return [portal];
  const addresses = Object.values(networkInterfaces()).flatMap((rows = []) => rows);
  const outside = addresses.filter(({ family, internal }) => family === 'IPv4' && !internal);
  return (outside.length > 0 ? outside.map(({ address }) => address) : ['127.0.0.1']).map((host) => `${host}:${port}`);
}

/** Of an address that could not be had yet: what that means. */
export const waitingText = ({ protocol, place, failure }: WaitingListener): string =>
  `${protocol === 'nbd' ? 'NBD' : 'iSCSI'} is not served at ${place} yet: ${failure.message}`;

const SECTOR_BYTES = 512;

/** What a person should know of an export that is served over iSCSI, at any time. */
export function iscsiRemarks({ exportName, iscsi, sizeBytes }: AttachmentDocument): string[] {
  if (iscsi === null) return [];
  const rest = (sizeBytes ?? 0) % SECTOR_BYTES;
  const open = outside(iscsi);
  const unproved = `Whoever reaches ${open.join(', ')}${claims(iscsi)} uses export ${exportName}: only --chap proves who it is.`;
  const cut = `The last ${String(rest)} bytes of export ${exportName} are no whole sector, and not there over iSCSI.`;
  return [...(iscsi.chapUser === null && open.length > 0 ? [unproved] : []), ...(rest === 0 ? [] : [cut])];
}

/** The same for who attaches it, or looks at it: also that loopback keeps no user of this machine out, as a socket in a folder does. */
export function attachedRemarks(document: AttachmentDocument): string[] {
  const { exportName, iscsi } = document;
  const others = iscsiRemarks(document);
  if (iscsi?.chapUser !== null || iscsi.portals.length === 0 || outside(iscsi).length > 0) return others;
  const local = `Whoever is a user of this machine${claims(iscsi)} uses export ${exportName} over ${iscsi.portals.join(', ')}: only --chap proves who it is.`;
  return [local, ...others];
}

type Iscsi = NonNullable<AttachmentDocument['iscsi']>;

/** Portals that other machines may reach. */
const outside = ({ portals }: Iscsi): string[] => portals.filter((portal) => !LOOPBACK.test(portal));

const claims = ({ initiators }: Iscsi): string =>
  initiators.length === 0 ? '' : ' and gives the name of an initiator that may log in';

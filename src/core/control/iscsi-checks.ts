/** Checks of what callers hand in about iSCSI. A secret is in no message and no detail. */
import {
  checkChapDirections,
  checkChapSecret,
  checkChapUser,
  checkInitiatorName,
  checkTargetName,
  cut,
  quoted,
  SgwError,
} from '../kit/index.ts';
import type { Input, IscsiWishes, ServingWishes } from '../localapi/index.ts';

const PROTOCOLS: readonly unknown[] = ['nbd', 'iscsi'];
const INITIATORS_MAX = 64;

const invalid = (code: string, message: string, hint: string): SgwError =>
  new SgwError('invalid', code, message, { hint });
const echo = (value: unknown): string => quoted(typeof value === 'string' ? value : cut(JSON.stringify(value), 128));

/** @throws invalid `bad-protocol`, `attach-options`, `bad-iscsi-name`, `bad-chap-user`, `bad-chap-secret` */
export function checkProtocols({ protocols = ['nbd'], iscsi }: Input<'volume.attach'>): void {
  if (!Array.isArray(protocols) || protocols.length === 0 || !protocols.every((one) => PROTOCOLS.includes(one)))
    throw invalid('bad-protocol', `${echo(protocols)} are no protocols`, 'Use nbd, iscsi, or both.');
  if (iscsi === undefined) return;
  if (!protocols.includes('iscsi'))
    throw invalid(
      'attach-options',
      'names of targets and initiators and CHAP are of iSCSI',
      'Add --protocol iscsi, or leave them out.',
    );
  checkNames(iscsi);
  checkChapRules(iscsi);
}

function checkNames({ targetName, initiators = [] }: IscsiWishes): void {
  if (targetName !== undefined) checkTargetName(targetName);
  if (!Array.isArray(initiators) || initiators.length > INITIATORS_MAX)
    throw invalid(
      'bad-iscsi-name',
      'the initiators are no list, or too many',
      `Give ${String(INITIATORS_MAX)} at most.`,
    );
  for (const name of initiators as unknown[]) checkInitiatorName(name);
}

function checkChapRules({ chap, chapTarget }: IscsiWishes): void {
  if (chap !== undefined) checkChap(chap.user, chap.secret);
  if (chapTarget === undefined) return;
  checkChap(chapTarget.user, chapTarget.secret);
  if (chap === undefined)
    throw invalid('attach-options', 'a target proves itself only to initiators that do', 'Give --chap USER as well.');
  checkChapDirections(chap.secret, chapTarget.secret);
}

/** @throws invalid `bad-iscsi-name`, `bad-chap-user`, `bad-chap-secret` */
export function checkInitiatorChap({ set, remove }: Input<'volume.chap'>): void {
  if (remove !== undefined) checkNames({ initiators: [remove] });
  if (set === undefined) return;
  checkNames({ initiators: [set.initiator] });
  const user = set.initiator;
  const chap = { user, secret: set.secret };
  checkChapRules(set.targetSecret === undefined ? { chap } : { chap, chapTarget: { user, secret: set.targetSecret } });
}

/** @throws invalid `bad-chap-user`, `bad-chap-secret` */
export function checkDiscoveryChap({ iscsiDiscoveryUser, iscsiDiscoverySecret }: ServingWishes): void {
  if (iscsiDiscoveryUser !== undefined && iscsiDiscoveryUser !== null)
    checkChap(iscsiDiscoveryUser, iscsiDiscoverySecret);
  else if (iscsiDiscoverySecret !== undefined)
    throw invalid('bad-chap-user', 'there is a secret of CHAP without its user', 'Give --iscsi-discovery-chap USER.');
}

function checkChap(user: unknown, secret: unknown): void {
  checkChapUser(user);
  checkChapSecret(secret);
}

const PORTAL = /^(?:\[[0-9A-Fa-f:.]+\]|[^:\s[\],]+):(\d{1,5})$/;

/** @throws invalid `bad-listener`, `bad-portal` */
export function checkPortals({ iscsiListen = [], iscsiPortals = [] }: ServingWishes): void {
  for (const place of iscsiListen as readonly unknown[])
    if (place !== 'default' && !(typeof place === 'string' && place.startsWith('tcp:') && isPortal(place.slice(4))))
      throw invalid(
        'bad-listener',
        `${echo(place)} can not be a portal`,
        'Give tcp:HOST:PORT, such as tcp:192.0.2.1:3260, or default.',
      );
  for (const portal of iscsiPortals as readonly unknown[])
    if (portal !== 'default' && !(isPortal(portal) && !String(portal).endsWith(':0')))
      throw invalid(
        'bad-portal',
        `${echo(portal)} is no portal`,
        'Give HOST:PORT, such as 192.0.2.1:3260, or default.',
      );
}

function isPortal(place: unknown): boolean {
  const port = typeof place === 'string' ? PORTAL.exec(place)?.[1] : undefined;
  return port !== undefined && Number(port) <= 65_535;
}

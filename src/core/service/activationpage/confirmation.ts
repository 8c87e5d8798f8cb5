/**
 * What the page gives out with the description of a device, and takes back with the confirmation: who looked, and at what.
 *
 * It stands for the secret of the access key, which is then neither written into the page nor asked for twice; no session is
 * kept. It is good for one device as it was described, for one account, for a few minutes, on any server.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { SgwError } from '../../kit/index.ts';

export interface Confirmation {
  readonly accountId: string;
  readonly accessKeyId: string;
  readonly activationKey: string;
  /** Of what was described: that is what is confirmed. */
  readonly described: string;
  readonly expiresAtMs: number;
}

export function sealConfirmation(key: Buffer, confirmation: Confirmation): string {
  const text = Buffer.from(JSON.stringify(confirmation), 'utf8').toString('base64url');
  return `${text}.${macOf(key, text).toString('base64url')}`;
}

/** @throws denied `confirmation-wrong` unless it was given out here, and is still good */
export function readConfirmation(key: Buffer, sealed: string, nowMs: number): Confirmation {
  const [text = '', mac = ''] = sealed.split('.');
  const given = Buffer.from(mac, 'base64url');
  const right = macOf(key, text);
  if (given.length !== right.length || !timingSafeEqual(given, right)) throw confirmationWrong();
  const confirmation = JSON.parse(Buffer.from(text, 'base64url').toString('utf8')) as Confirmation;
  if (nowMs >= confirmation.expiresAtMs) throw confirmationWrong();
  return confirmation;
}

const macOf = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text, 'utf8').digest();

export const confirmationWrong = (): SgwError =>
  new SgwError('denied', 'confirmation-wrong', 'the confirmation came too late, or is for something else', {
    hint: 'Begin again with the activation key.',
  });

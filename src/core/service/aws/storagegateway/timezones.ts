/** Time zones of gateways, `GMT`, `GMT+h:mm` or `GMT-hh:mm`: only times that the API tells or takes are in them. */
import { RequestRefused } from './errors.ts';

const TIMEZONE = /^GMT(?:([+-])(\d{1,2}):([0-5]\d))?$/;
const HOURS_MAX = 14;

/** @throws RequestRefused `InvalidParameters` */
export function checkTimezone(text: string): void {
  minutesEastOf(text);
}

/** Minutes that the zone is ahead of UTC. @throws RequestRefused `InvalidParameters` */
export function minutesEastOf(text: string): number {
  const [whole, sign, hours = '0', minutes = '0'] = TIMEZONE.exec(text) ?? [];
  if (whole === undefined || Number(hours) > HOURS_MAX)
    throw new RequestRefused('InvalidParameters', 'a time zone is GMT, GMT+h:mm or GMT-h:mm');
  return (sign === '-' ? -1 : 1) * (Number(hours) * 60 + Number(minutes));
}

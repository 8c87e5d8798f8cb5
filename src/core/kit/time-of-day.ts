/** Times of the day by the minute, as people write them: `02:30`; the zero of an hour below ten may be left out. */

/** From 00:00 to 23:59. */
export const isClockTime = (text: unknown): text is string =>
  typeof text === 'string' && /^(?:[01]?\d|2[0-3]):[0-5]\d$/.test(text);

/** A clock time, or 24:00, the end of a day. */
export const isTimeOfDay = (text: unknown): text is string => text === '24:00' || isClockTime(text);

/** Minutes after midnight, of a time of the day. */
export function minuteOfDay(text: string): number {
  const [hours = '', minutes = ''] = text.split(':');
  return Number(hours) * 60 + Number(minutes);
}

/** `02:30`, of minutes after midnight. */
export const clockText = (minute: number): string =>
  `${String(Math.floor(minute / 60)).padStart(2, '0')}:${String(minute % 60).padStart(2, '0')}`;

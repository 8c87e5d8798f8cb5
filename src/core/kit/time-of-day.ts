/** Whether `text` is a time of the day by the minute, from 00:00 to 24:00; the zero of an hour below ten may be left out. */
export const isTimeOfDay = (text: unknown): text is string =>
  typeof text === 'string' && /^(?:(?:[01]?\d|2[0-3]):[0-5]\d|24:00)$/.test(text);

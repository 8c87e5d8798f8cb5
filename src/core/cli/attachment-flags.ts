/** The flags about serving: sizes that are no volume's, ack classes, intervals. */
import { Flags } from '@oclif/core';
import { parseSize } from '../kit/index.ts';
import type { AckClass } from '../localapi/index.ts';
import { checkChoice, checkName, parseDuration } from './values.ts';

const ACK_CLASSES = ['log', 'store'] as const;

export const ackFlag = Flags.custom<AckClass>({
  description:
    'When a write is acknowledged: log, in the write log of this home (default), or store, committed to the object store.',
  options: [...ACK_CLASSES],
  parse: async (text) => checkChoice(text, ACK_CLASSES, '--ack'),
});

/** A size of buffers and caches; 0 is allowed. */
export const bytesFlag = Flags.custom<number>({
  helpValue: 'SIZE',
  parse: async (text, _context, options) => parseSize(text, `--${options.name}`),
});

export const durationFlag = Flags.custom<number>({
  helpValue: 'DURATION',
  parse: async (text, _context, options) => parseDuration(text, `--${options.name}`),
});

export const exportNameFlag = Flags.custom({
  description: 'Name that clients ask for. [default: that of the volume or snapshot]',
  helpValue: 'NAME',
  parse: async (text) => checkName(text, '--export-name'),
});

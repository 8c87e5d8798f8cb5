/** The flags about serving: sizes that are no volume's, ack classes, intervals. */
import { Flags } from '@oclif/core';
import { parseSize } from '../kit/index.ts';
import type { AckClass } from '../localapi/index.ts';
import { gatewayPath } from './gateway-path.ts';
import { checkChoice, checkName, checkPath, parseDuration, parseRate } from './values.ts';

const ACK_CLASSES = ['log', 'peer', 'store'] as const;

export const ackFlag = Flags.custom<AckClass>({
  description:
    'When a write is acknowledged: log, in the write log here (default); peer, also in those of its group; or store, committed to the object store.',
  options: [...ACK_CLASSES],
  parse: async (text) => checkChoice(text, ACK_CLASSES, '--ack'),
});

/** A size of buffers and caches; 0 is allowed. */
export const bytesFlag = Flags.custom<number>({
  helpValue: 'SIZE',
  parse: async (text, _context, options) => parseSize(text, `--${options.name}`),
});

/** Bytes a second. */
export const rateFlag = Flags.custom<number>({
  description: 'Restore no more than this in a second, beside what clients ask for. [default: as fast as it goes]',
  helpValue: 'SIZE',
  parse: async (text) => parseRate(text, '--rate', 'Give a size, such as 50MiB.'),
});

/** The local image that a verb works on, as an absolute path. */
export const imageFlag = Flags.custom({
  description: 'The image: a file, or a block device.',
  helpValue: 'FILE',
  required: true,
  parse: async (text) => gatewayPath(checkPath(text, '--image')),
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

import { Flags } from '@oclif/core';
import {
  bandwidthFields,
  flagsOf,
  given,
  parseLimit,
  parseRule,
  requireAny,
  SgwCommand,
} from '../../core/cli/index.ts';

export default class BandwidthSet extends SgwCommand {
  static override summary = 'Limit the traffic with the store.';
  static override description =
    'The limits are for all volumes of the gateway together, and for commands that work without the daemon, each by itself. They ' +
    'count from now on, also for what is under way. Volumes take turns; small reads, for which somebody waits, go before large ' +
    'ones. --schedule gives limits for hours of the week, by the clock of this machine: the first that applies counts before ' +
    '--upload and --download.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> --upload 20MB/s',
    '<%= config.bin %> <%= command.id %> --upload none --schedule "Mon-Fri 08:00-18:00 up 5MB/s"',
    '<%= config.bin %> <%= command.id %> --schedule "Mon-Fri 08:00-18:00 5MB/s" --schedule "daily 22:00-06:00 none"',
  ];
  static override flags = flagsOf('bandwidth set', {
    upload: Flags.custom<number | null>({
      description: 'Bytes a second that are sent to the store; none: no limit.',
      helpValue: 'RATE',
      parse: async (text) => parseLimit(text, '--upload'),
    })(),
    download: Flags.custom<number | null>({
      description: 'Bytes a second that are read from the store; none: no limit.',
      helpValue: 'RATE',
      parse: async (text) => parseLimit(text, '--download'),
    })(),
    schedule: Flags.string({
      description:
        'Limits for hours of the week, in place of all that there are; may be given more than once. none: no hours.',
      helpValue: '"DAYS HH:MM-HH:MM RATE"',
      multiple: true,
    }),
  });

  async run(): Promise<void> {
    const { flags } = await this.parse(BandwidthSet);
    const { upload, download, schedule } = flags;
    requireAny({ '--upload': upload, '--download': download, '--schedule': schedule });
    const rules = schedule?.length === 1 && schedule[0] === 'none' ? [] : schedule?.map((text) => parseRule(text));
    await using session = this.session(flags);
    const input = given({ uploadBytesPerSecond: upload, downloadBytesPerSecond: download, schedule: rules });
    const bandwidth = await session.call('bandwidth.set', input);
    await session.print(bandwidth, (style) => bandwidthFields(bandwidth, style));
    await session.next('sgw bandwidth show', 'sgw bandwidth remove');
  }
}

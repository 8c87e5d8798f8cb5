import { Flags } from '@oclif/core';
import { parseSize } from '../../core/kit/index.ts';
import {
  flagsOf,
  given,
  nameArgument,
  parseDuration,
  pathFlag,
  readSecretFile,
  requireAny,
  SgwCommand,
} from '../../core/cli/index.ts';
import { alertSetFields, setAlert } from '../../core/cli/service/index.ts';

const durationFlag = Flags.custom<number>({
  helpValue: 'DURATION',
  parse: async (text, _context, flag) => parseDuration(text, `--${flag.name}`),
});

export default class AlertSet extends SgwCommand {
  static override summary = 'Have the service watch gateways, and tell a webhook.';
  static override description =
    'The service looks at the gateways of the account about once a minute, and sends a POST of JSON by HTTPS when a threshold ' +
    'is passed, and when that has ended. An alert is set as a whole: what is not given is not watched. The header ' +
    'X-Sgw-Signature holds the time and an HMAC-SHA-256 of time and body, by the secret of --secret-file, or by one that the ' +
    'service makes and this prints once. What can not be delivered is tried again, for most of a day.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> gone --not-connected 15m --webhook https://hooks.example.com/sgw --service https://sgw.example:8443',
    '<%= config.bin %> <%= command.id %> exposed --for lab --exposure 10GiB --exposure-age 1h --repeat 6h --webhook https://hooks.example.com/sgw',
    '<%= config.bin %> <%= command.id %> proofs --restore-proof --webhook https://hooks.example.com/sgw --secret-file hook.secret --json',
  ];
  static override args = { name: nameArgument('name', 'Name of the alert.') };
  static override flags = flagsOf('alert set', {
    webhook: Flags.string({ description: 'Where to tell it: https://HOST/PATH.', helpValue: 'URL', required: true }),
    for: Flags.string({
      description: 'Only this gateway: id or name. [default: all of the account]',
      helpValue: 'GATEWAY',
    }),
    exposure: Flags.custom<number>({
      description: 'A volume has more than this that is acknowledged and not in the store.',
      helpValue: 'SIZE',
      parse: async (text) => parseSize(text, '--exposure'),
    })(),
    'exposure-age': durationFlag({ description: 'The oldest write of a volume that is not in the store is older.' }),
    'time-to-full': durationFlag({ description: 'An upload buffer will be full within that time.' }),
    'not-connected': durationFlag({ description: 'A gateway has had no connection for that long.' }),
    'restore-proof': Flags.boolean({ description: 'A schedule verified a snapshot that is not sound, or could not.' }),
    repeat: durationFlag({ description: 'Tell it again this often while it lasts. [default: once]' }),
    'secret-file': pathFlag({ description: 'File with the secret that signs what is sent.' }),
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(AlertSet);
    const {
      exposure,
      'exposure-age': age,
      'time-to-full': full,
      'not-connected': gone,
      'restore-proof': proof,
    } = flags;
    requireAny({
      ...{ '--exposure': exposure, '--exposure-age': age, '--time-to-full': full, '--not-connected': gone },
      '--restore-proof': proof ? true : undefined,
    });
    await using session = this.session(flags);
    const secret = flags['secret-file'];
    const thresholds = given({
      ...{ exposureBytes: exposure, exposureMs: age, timeToFullMs: full, notConnectedMs: gone },
      restoreProof: proof ? (true as const) : undefined,
    });
    const alert = await setAlert(session, {
      ...{ name: args.name, gateway: flags.for, thresholds, webhookUrl: flags.webhook },
      repeatMs: flags.repeat ?? null,
      secret: secret === undefined ? null : await readSecretFile(secret, async (text) => session.say(text)),
    });
    await session.print(alert, (style) => alertSetFields(alert, style));
    await session.next('sgw alert show', `sgw alert remove ${alert.name}`);
  }
}

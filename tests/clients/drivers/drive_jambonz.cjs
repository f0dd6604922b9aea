// jambonz speech-utils: what a jambonz server calls for a `say`.

const { createRequire } = require("node:module");

const job = JSON.parse(process.argv[2]);
process.env.JAMBONES_TMP_FOLDER = job.save;

// The environment of the client is the directory this runs in. Its index would connect to Redis.
const synthAudio = createRequire(`${process.cwd()}/`)("@jambonz/speech-utils/lib/synth-audio");

const say = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));

const redis = { get: async () => null, setex: async () => {}, expire: async () => {} };
const stats = { increment: () => {}, histogram: () => {} };
const logger = { info: () => {}, debug: () => {}, error: () => {} };

synthAudio(redis, null, null, logger, stats, {
  ...job.speech,
  disableTtsCache: true,
  renderForCaching: true,
}).then(
  ({ filePath }) => say("done", { path: filePath }),
  (error) => say("done", { error: error.constructor.name, status: error.statusCode }),
);

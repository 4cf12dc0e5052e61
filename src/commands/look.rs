//! One look at everything in EC2 that the config asks for, for the commands that look once.

use futures_util::future::join_all;

use crate::config::Config;
use crate::ec2::{Ec2Read, Urgency};
use crate::observe::seen::Moment;
use crate::observe::{Known, World, ask};

/// The number of rounds of questions after which every id is known. Each round shows ids that the questions of the next
/// round need: first a VPC and a primary address, then the tables with a tag.
const ROUNDS: usize = 3;

/// How a look is made: how long its reads may wait for the rate limit, and the moment that all of them have.
pub(super) struct LookOnce {
    pub urgency: Urgency,
    pub at: Moment,
}

impl LookOnce {
    /// Asks each question once, those of a round at the same time. `known` and `world` learn the answers. A read that
    /// fails is part of the world and no error.
    pub(super) async fn look(self, config: &Config, ec2: &impl Ec2Read, known: &mut Known, world: &mut World) {
        let mut asked = Vec::new();
        for _ in 0..ROUNDS {
            let mut questions = known.questions(config);
            questions.retain(|question| !asked.contains(question));
            let answers = join_all(questions.iter().map(|question| ask(ec2, question, self.urgency))).await;
            for answer in answers {
                // The world keeps the error, and the preview or the checks tell of it.
                let _ = world.put(answer, self.at);
            }
            asked.extend(questions);
            known.learn(world);
        }
    }
}

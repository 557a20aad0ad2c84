cd /tmp/spec; SEEDS=$1 nice -n 15 cargo test -q -p kddm-model --features mutants --test schedules -- --nocapture every_planted 2>&1 | grep "^mutant:"
